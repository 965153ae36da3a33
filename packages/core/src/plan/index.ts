export * from './plan.js'
export * from './parts.js'
export * from './serialise.js'
