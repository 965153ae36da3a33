export type * from './chat-template.js'
export type * from './tokenizer.js'
