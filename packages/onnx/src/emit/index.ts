export * from './emitter.js'
export * from './emitters.js'
