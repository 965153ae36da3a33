export { gptq } from './gptq.js'
export { GPTQ_OPTIONS, type GptqOptions, type ScaleSource } from './options.js'
export { mismatchAware, MISMATCH_OPTIONS, type MismatchOptions } from './mismatch-aware.js'
