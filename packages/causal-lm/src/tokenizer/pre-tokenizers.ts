import { LowbitError } from '@lowbit/core'

/** How a byte-level vocabulary cuts text into pieces before merging. */
export interface PreTokenizer {
  /** Each pattern cuts what the one before it left into matches and what stands between them. */
  readonly patterns: readonly RegExp[]
  readonly normalize?: 'NFC'
  /** A piece that is a token as a whole is not merged from its bytes. */
  readonly wholePieces?: boolean
  /** The model's files want the first token in front unless they say otherwise. */
  readonly bos?: boolean
}

/*
 * White space is Unicode's property, as in the Rust and Oniguruma engines that these patterns were written for: JavaScript's \s has U+FEFF
 * and lacks U+0085. Their (?i) knows that U+017F folds to s.
 */
const S = '\\p{White_Space}'
const CONTRACTIONS = "'(?:[sS\\u017f]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])"
const REST = `| ?[^${S}\\p{L}\\p{N}]+[\\r\\n]*|${S}*[\\r\\n]+|${S}+(?![^${S}])|${S}+`

const gpt2 = new RegExp(`'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${S}\\p{L}\\p{N}]+|${S}+(?![^${S}])|${S}+`, 'gu')
const words = (digits: string): RegExp => new RegExp(`${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}${REST}`, 'gu')
const eachDigit = /\p{N}/gu

const llama3: PreTokenizer = { patterns: [words('\\p{N}{1,3}')], wholePieces: true, bos: true }
const qwen2: PreTokenizer = { patterns: [words('\\p{N}')], normalize: 'NFC' }
const digitsThenGpt2: PreTokenizer = { patterns: [eachDigit, gpt2] }

/** By the names that `tokenizer.ggml.pre` has. */
const PRE_TOKENIZERS: ReadonlyMap<string, PreTokenizer> = new Map([
  ['gpt-2', { patterns: [gpt2] }],
  ['smollm', digitsThenGpt2],
  ['starcoder', digitsThenGpt2],
  ['refact', digitsThenGpt2],
  ['command-r', digitsThenGpt2],
  ['llama-bpe', llama3],
  ['llama3', llama3],
  ['llama-v3', llama3],
  ['qwen2', qwen2],
  ['deepseek-r1-qwen', qwen2],
])

/** @throws LOWBIT_UNSUPPORTED for rules that are not known: other rules would give other tokens. */
export function preTokenizer(name: string): PreTokenizer {
  const found = PRE_TOKENIZERS.get(name)
  if (found === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'tokenizer.ggml.pre', found: `'${name}'`, expected: [...PRE_TOKENIZERS.keys()].join(', '), fix: "open the model's Hugging Face folder: its tokenizer.json says the rules itself" })
  return found
}

/** Cuts text by the patterns, one after the other. Nothing is lost. */
export function cut(text: string, patterns: readonly RegExp[]): string[] {
  let pieces = [text]
  for (const pattern of patterns) pieces = pieces.flatMap((piece) => cutOnce(piece, pattern))
  return pieces
}

function cutOnce(text: string, pattern: RegExp): string[] {
  const pieces: string[] = []
  let end = 0
  for (const match of text.matchAll(pattern)) {
    if (match.index > end) pieces.push(text.slice(end, match.index))
    if (match[0] !== '') pieces.push(match[0])
    end = match.index + match[0].length
  }
  if (end < text.length) pieces.push(text.slice(end))
  return pieces
}
