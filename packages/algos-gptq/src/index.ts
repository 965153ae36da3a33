export { gptq } from './gptq.js'
export { GPTQ_OPTIONS, type GptqOptions, type ScaleSource } from './options.js'
