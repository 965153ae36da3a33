export * from './value-codec.js'
