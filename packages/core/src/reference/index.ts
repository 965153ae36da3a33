export * from './ops.js'
