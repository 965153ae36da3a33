export * from '../../../onnx/test/support/random.js'
