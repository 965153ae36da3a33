export { hqq, type HqqOptions } from './hqq.js'
