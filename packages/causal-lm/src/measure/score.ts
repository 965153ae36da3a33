import { LowbitError, throwIfAborted } from '@lowbit/core'
import type { DecoderSession } from '../generate/decoder-session.js'
import { windowsOf, type WindowOptions } from './windows.js'

export interface ScoreOptions extends WindowOptions {
  readonly signal?: AbortSignal
  /** Tokens judged so far. */
  readonly onProgress?: (done: number, total: number) => void
}

/** Gets the logits of every model before a token that is judged, `[vocabulary]` each; they are overwritten. */
export type OnScore = (logits: readonly Float32Array[], token: number) => void

export interface Scored {
  readonly tokens: number
  readonly window: number
  readonly stride: number
}

/**
 * Reads a text with some models side by side, a run at a time, and hands out the logits before each token. No more than a run's
 * logits are in memory.
 * @throws LOWBIT_ARGUMENT for a text that is too short, LOWBIT_SHAPE for models of different vocabularies, LOWBIT_ABORTED
 */
export async function scoreTokens(sessions: readonly DecoderSession[], tokens: readonly number[], onScore: OnScore, options: ScoreOptions = {}): Promise<Scored> {
  const context = Math.min(...sessions.map((session) => session.context))
  const { window = Math.min(context, tokens.length), stride = window } = options
  if (tokens.length < 2) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'text', found: `${tokens.length} tokens`, expected: 'at least 2: each is judged by those before it' })
  if (window > context) throw new LowbitError('LOWBIT_LIMIT', { thing: 'window', found: String(window), expected: `at most the context of ${context}` })
  const windows = windowsOf(tokens.length, window, stride)
  const total = windows.reduce((sum, { first, to }) => sum + to - first, 0)
  const rows = Math.min(...sessions.map(({ limits }) => Math.min(limits.rows, limits.wanted)))
  let done = 0
  for (const { from, first, to } of windows) {
    for (const session of sessions) session.truncate(0)
    // Logits at position p judge token p + 1: the last token of a window is never read.
    for (let at = from; at < to - 1; at += rows) {
      throwIfAborted(options.signal, 'evaluation')
      const end = Math.min(at + rows, to - 1)
      const wanted = Math.min(end - at, Math.max(0, end + 1 - first))
      const logits: Float32Array[] = []
      for (const session of sessions) logits.push(await session.score(tokens.slice(at, end), wanted))
      const sizes = logits.map(({ length }) => length / Math.max(1, wanted))
      if (sizes.some((size) => size !== sizes[0])) throw new LowbitError('LOWBIT_SHAPE', { thing: 'models', found: `vocabularies of ${sizes.join(' and ')}`, expected: 'the same tokens in both' })
      for (let i = 0; i < wanted; i++) onScore(logits.map((all) => all.subarray(i * sizes[0], (i + 1) * sizes[0])), tokens[end - wanted + i + 1])
      done += wanted
      options.onProgress?.(done, total)
      // Timers, keys and messages get their turn.
      await new Promise((resolve) => setTimeout(resolve))
    }
  }
  return { tokens: done, window, stride }
}

/** `log Σ exp(logits)`. @throws LOWBIT_NONFINITE. */
export function logSumExp(logits: Float32Array): number {
  let top = -Infinity
  for (let i = 0; i < logits.length; i++) if (logits[i] > top) top = logits[i]
  let sum = 0
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i] - top)
  const value = top + Math.log(sum)
  if (!Number.isFinite(value)) throw new LowbitError('LOWBIT_NONFINITE', { thing: 'logits', found: 'values that are no numbers', expected: 'finite logits', fix: 'the weights of the model may be damaged' })
  return value
}
