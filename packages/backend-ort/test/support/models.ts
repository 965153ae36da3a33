export * from '../../../onnx/test/support/models.js'
