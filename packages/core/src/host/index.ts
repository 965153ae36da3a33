export * from './abstract-host.js'
export * from './answers.js'
export * from './check-batch.js'
export * from './check-transform.js'
