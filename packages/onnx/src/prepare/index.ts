export * from './upgrade-opset.js'
export * from './initializer-inputs.js'
export * from './fold-into-conv.js'
export * from './drop-identities.js'
