export * from './activation-limits.js'
export * from './masks.js'
export * from './operators.js'
export * from './points.js'
