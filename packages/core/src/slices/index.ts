export * from './slices.js'
export * from './breath.js'
