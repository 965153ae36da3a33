import { LowbitError, type Batch } from '@lowbit/core'
import type { Tokenizer } from '../tokenizer/index.js'

export interface CalibrationWindowOptions {
  /** Tokens of a window. Default 512, or the model's context. */
  readonly window?: number
  /** Tokens in all. Default: the whole text. */
  readonly tokens?: number
}

/** Tokens that are read together where nothing else is said. */
export const CALIBRATION_WINDOW = 512

/**
 * A text as calibration data: windows of tokens one after another, a batch each. What is left at the end is not used.
 * @throws LOWBIT_CALIBRATION for a text that is shorter than one window
 */
export function calibrationWindows(tokenizer: Tokenizer, text: string, { window = CALIBRATION_WINDOW, tokens = Infinity }: CalibrationWindowOptions = {}): readonly Batch[] {
  // Some characters make more than one token each, none makes less than a token of some hundred bytes: a long text need not be cut whole.
  const ids = tokenizer.encode(Number.isFinite(tokens) ? text.slice(0, tokens * MOST_CHARACTERS) : text)
  const count = Math.floor(Math.min(ids.length, tokens) / window)
  if (count < 1) {
    throw new LowbitError('LOWBIT_CALIBRATION', { thing: 'calibration text', found: `${Math.min(ids.length, tokens)} tokens`, expected: `at least one window of ${window}`, fix: 'give a longer text, or shorter windows' })
  }
  return Array.from({ length: count }, (_, i) => ({ tokens: { dtype: 'int32', shape: [1, window], data: Int32Array.from(ids.slice(i * window, (i + 1) * window)) } }))
}

/** Characters of text that are looked at for each token that is wanted. */
const MOST_CHARACTERS = 64
