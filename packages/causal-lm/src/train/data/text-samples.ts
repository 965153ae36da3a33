import { LowbitError } from '@lowbit/core'
import type { Tokenizer } from '../../tokenizer/index.js'
import type { Sample } from './sample.js'

export interface TextOptions {
  /** What stands between texts in the file; each then begins with the token that the model wants there. Default `<|endoftext|>`. */
  readonly separator?: string
}

/**
 * The texts of a file as tokens. Spellings of special tokens in them are text.
 * @throws LOWBIT_DATA for a file without any text
 */
export function textSamples(text: string, tokenizer: Tokenizer, { separator = '<|endoftext|>' }: TextOptions = {}): readonly Sample[] {
  const texts = (separator === '' ? [text] : text.split(separator)).map((t) => t.trim()).filter((t) => t !== '')
  if (texts.length === 0) throw new LowbitError('LOWBIT_DATA', { thing: 'training text', found: 'nothing', expected: 'a text' })
  return texts.map((t) => ({ tokens: tokenizer.encode(t, { special: false }) }))
}
