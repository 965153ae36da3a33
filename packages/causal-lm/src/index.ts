export type * from './tokenizer/index.js'
