export * from './write-plan.js'
export * from './simulate.js'
export { dequantizeDomain } from './dequantize-weight.js'
