import { LowbitError } from '@lowbit/core'
import type { TokenBatch } from './batch.js'
import type { Sample } from './sample.js'

/** One sequence of training: `window` inputs, their targets and weights. */
export interface PackedWindow {
  readonly inputs: readonly number[]
  readonly targets: readonly number[]
  readonly weights: readonly number[]
}

/** How samples become windows of equal length. */
export type Packing =
  /** Samples one behind the other, cut where a window is full: nothing is padded. */
  | 'packed'
  /** Each sample begins a window, and is cut or padded to it. */
  | 'samples'

/**
 * Samples as windows of equal length. The last token of a window is the first input of the next, so that each is a target once.
 * @param padding what fills up a short window; it is not learned
 * @throws LOWBIT_DATA if there is not one whole window (packed), or nothing that is learned
 */
export function packSamples(samples: readonly Sample[], window: number, packing: Packing = 'packed', padding = 0): readonly PackedWindow[] {
  if (!Number.isInteger(window) || window < 1) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'window', found: String(window), expected: 'a whole number of at least 1' })
  const windows = packing === 'packed' ? packed(samples, window) : samples.flatMap((sample) => separate(sample, window, padding))
  if (windows.length === 0) {
    const tokens = samples.reduce((sum, s) => sum + s.tokens.length, 0)
    throw new LowbitError('LOWBIT_DATA', { thing: 'training data', found: `${tokens} tokens`, expected: `at least ${window + 1}, one window and the token behind it`, fix: `give a longer text, or a window below ${Math.max(2, tokens)}` })
  }
  const learned = windows.filter(({ weights }) => weights.some((w) => w > 0))
  if (learned.length === 0) throw new LowbitError('LOWBIT_DATA', { thing: 'training data', found: 'no token that is learned in any window', expected: 'answers within the window', fix: 'raise the window: prompts alone fill it' })
  return learned
}

function packed(samples: readonly Sample[], window: number): PackedWindow[] {
  const tokens = samples.flatMap((s) => s.tokens)
  const learned = samples.flatMap((s) => s.learned ?? s.tokens.map(() => 1))
  return Array.from({ length: Math.max(0, Math.floor((tokens.length - 1) / window)) }, (_, i) => cut(tokens, learned, i * window, (i + 1) * window))
}

function separate(sample: Sample, window: number, padding: number): PackedWindow[] {
  if (sample.tokens.length < 2) return []
  const missing = Math.max(0, window + 1 - sample.tokens.length)
  const filler = Array.from({ length: missing }, () => padding)
  return [cut([...sample.tokens, ...filler], [...(sample.learned ?? sample.tokens.map(() => 1)), ...filler.map(() => 0)], 0, window)]
}

const cut = (tokens: readonly number[], learned: readonly number[], from: number, to: number): PackedWindow => ({ inputs: tokens.slice(from, to), targets: tokens.slice(from + 1, to + 1), weights: learned.slice(from + 1, to + 1) })

export const batchOf = (windows: readonly PackedWindow[]): TokenBatch => ({ inputs: windows.map((w) => w.inputs), targets: windows.map((w) => w.targets), weights: windows.map((w) => w.weights) })

/**
 * Which window stands where in a training: a permutation an epoch, from the seed alone, so that a training that is taken up again
 * needs no state of a random generator.
 */
export class Shuffled {
  readonly #count: number
  readonly #seed: number
  #epoch = -1
  #order: number[] = []

  constructor(count: number, seed: number) {
    this.#count = count
    this.#seed = seed
  }

  at(place: number): number {
    const epoch = Math.floor(place / this.#count)
    if (epoch !== this.#epoch) {
      this.#epoch = epoch
      this.#order = permutation(this.#count, mix(this.#seed, epoch))
    }
    return this.#order[place % this.#count]
  }
}

function permutation(count: number, seed: number): number[] {
  const order = Array.from({ length: count }, (_, i) => i)
  let state = seed
  for (let i = count - 1; i > 0; i--) {
    state = mix(state, i)
    const other = state % (i + 1)
    ;[order[i], order[other]] = [order[other], order[i]]
  }
  return order
}

function mix(a: number, b: number): number {
  let h = (Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(b + 1, 0xc2b2ae35)) >>> 0
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d) >>> 0
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b) >>> 0
  return (h ^ (h >>> 16)) >>> 0
}
