export { hqq, HQQ_OPTIONS, type HqqOptions } from './hqq.js'
