export * from './layout.js'
export * from './bits.js'
