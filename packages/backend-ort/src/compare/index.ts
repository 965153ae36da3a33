export * from './compare-models.js'
export * from './rank-layers.js'
