export * from './onnx-graph-host.js'
export * from './open-onnx-graph.js'
