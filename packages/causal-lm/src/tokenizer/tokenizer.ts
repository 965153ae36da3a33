import type { ChatTemplate } from './chat-template.js'

export interface EncodeOptions {
  /** Put the first token that the model wants (`<s>`) in front, where it wants one. Default true. */
  readonly bos?: boolean
  /** Spellings of special tokens in the text (`<|im_end|>`) become these tokens. Default true; false for text of a user. */
  readonly special?: boolean
}

export interface DecodeOptions {
  /** Leave special tokens out. Default false. */
  readonly skipSpecial?: boolean
}

/** Text of a generation as its tokens come. Characters that are not whole yet are held back. */
export interface TokenStream {
  /** What the token adds. */
  push(id: number): string
  /** What is left: an unfinished character comes as U+FFFD. */
  end(): string
}

/** Text to token ids and back. Plain data and functions: no file, no network. */
export interface Tokenizer {
  /** Which algorithm and rules: `gpt2 (llama-bpe)`, `sentencepiece bpe`, … */
  readonly name: string
  /** Ids are below this. */
  readonly size: number
  /** The token in front of every text, where the model wants one. */
  readonly bos: number | undefined
  /** Tokens that end a generation; may be empty. */
  readonly eos: readonly number[]
  /** Template of the file, if it has one. */
  readonly chat: ChatTemplate | undefined
  encode(text: string, options?: EncodeOptions): number[]
  /** @throws LOWBIT_ARGUMENT for an id that is not in the vocabulary. */
  decode(ids: Iterable<number>, options?: DecodeOptions): string
  stream(options?: DecodeOptions): TokenStream
  /** The spelling of a token in the vocabulary. */
  spelling(id: number): string | undefined
  idOf(spelling: string): number | undefined
  isSpecial(id: number): boolean
}
