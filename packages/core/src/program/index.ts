export * from './check-program.js'
export * from './check-input.js'
