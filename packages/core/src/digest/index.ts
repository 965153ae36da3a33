export * from './sha256.js'
export * from './digest-batches.js'
export * from './hasher.js'
