import { LowbitError } from '@lowbit/core'

export interface WindowOptions {
  /** Tokens that are read together. Default: the session's context. */
  readonly window?: number
  /** Tokens from one window to the next. Default: the window, so that no token is read twice. A shorter one gives every token more to look back on. */
  readonly stride?: number
}

/** A piece of a text: tokens `from` to `to` are read, those from `first` on are judged. */
export interface Window {
  readonly from: number
  readonly first: number
  readonly to: number
}

/**
 * How a text is cut: each token is judged once, by what stands before it in its window; the first of the text, and of windows
 * that share nothing with the last one, by nothing, so they are not.
 * @throws LOWBIT_ARGUMENT
 */
export function windowsOf(tokens: number, window: number, stride: number): readonly Window[] {
  for (const [name, value, least] of [['window', window, 2], ['stride', stride, 1]] as const) {
    if (!Number.isInteger(value) || value < least || value > window) throw new LowbitError('LOWBIT_ARGUMENT', { thing: name, found: String(value), expected: `a whole number from ${least} to ${name === 'stride' ? `the window (${window})` : 'the context'}` })
  }
  const windows: Window[] = []
  for (let from = 0, done = 0; done < tokens; from += stride) {
    const to = Math.min(from + window, tokens)
    const first = Math.max(done, from + 1)
    if (first < to) windows.push({ from, first, to })
    done = to
  }
  return windows
}
