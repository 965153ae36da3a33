export { gptq } from './gptq.js'
export type { GptqOptions, ScaleSource } from './options.js'
