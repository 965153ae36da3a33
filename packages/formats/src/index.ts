export * from './onnx/index.js'
export * from './tensors/index.js'
