export * from './graph/index.js'
export * from './ort.js'
export * from './session.js'
