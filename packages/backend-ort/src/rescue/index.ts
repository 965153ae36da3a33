export * from './rescue.js'
export * from './switchboard.js'
