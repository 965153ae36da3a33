import type { Tokenizer } from '@lowbit/causal-lm'
import { packSamples, type PackedWindow } from '@lowbit/causal-lm/train'

/** Stories that nothing is learned from. */
const TEST = 40
/** A story begins at one of these; shorter pieces are no stories. */
const BEGINS = /<\|endoftext\|>|\n\s*\n\s*\n|(?=Once upon a time|One day,)/
const LEAST = 300

export interface Stories {
  readonly learned: readonly PackedWindow[]
  readonly test: readonly PackedWindow[]
}

/** Each story in a window of its own, from its beginning. */
export function stories(text: string, tokenizer: Tokenizer, window: number): Stories {
  const samples = text.split(BEGINS).map((s) => s.trim()).filter((s) => s.length > LEAST).map((s) => ({ tokens: tokenizer.encode(s, { special: false }).slice(0, window + 1) }))
  const test = Math.min(TEST, Math.ceil(samples.length / 4))
  return { learned: packSamples(samples.slice(test), window, 'samples'), test: packSamples(samples.slice(0, test), window, 'samples') }
}
