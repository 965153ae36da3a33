export * from './calibration-graph.js'
export * from './merge.js'
export * from './observe.js'
export * from './tensor-info.js'
