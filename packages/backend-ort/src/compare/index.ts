export * from './compare-models.js'
export * from './rank-layers.js'
export * from './saturation.js'
export { toNumbers } from './values.js'
