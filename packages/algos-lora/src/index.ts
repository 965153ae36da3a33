export { lora, LORA_OPTIONS, type LoraOptions } from './lora.js'
export { loftq, type LoftqOptions, type LoftqStart } from './loftq.js'
export { lowRank, type LowRank } from './low-rank.js'
export { PACKAGE, VERSION } from './version.js'
