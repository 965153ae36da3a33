import { LowbitError } from '@lowbit/core'
import { freshSeed, seededRandom } from './random.js'

/** How the next token is chosen. The filters apply in this order; temperature 0 takes the likeliest token. */
export interface SamplingOptions {
  /** Logits of tokens that already stand in the context are divided by it if positive, else multiplied (Keskar et al. 2019). Default 1: off. */
  readonly repetitionPenalty?: number
  /** The likeliest so many. Default 0: all. */
  readonly topK?: number
  /** The likeliest tokens that together have this probability (Holtzman et al. 2020). Default 1: all. */
  readonly topP?: number
  /** Tokens at least this likely, as a share of the likeliest. Default 0: all. */
  readonly minP?: number
  /** Logits are divided by it. Default 0: the likeliest token, and no chance. */
  readonly temperature?: number
  /** A whole number from 0. The same one gives the same text. Default: another one each time; see the result. */
  readonly seed?: number
}

export type Sampling = Required<SamplingOptions>

/** @throws LOWBIT_ARGUMENT. */
export function resolveSampling(options: SamplingOptions): Sampling {
  const { repetitionPenalty = 1, topK = 0, topP = 1, minP = 0, temperature = 0, seed = freshSeed() } = options
  const check = (name: string, value: number, ok: boolean, expected: string): void => {
    if (!ok || typeof value !== 'number') throw new LowbitError('LOWBIT_ARGUMENT', { thing: name, found: String(value), expected })
  }
  check('repetitionPenalty', repetitionPenalty, repetitionPenalty > 0 && repetitionPenalty < Infinity, 'a number above 0')
  check('topK', topK, Number.isInteger(topK) && topK >= 0, 'a whole number, 0 for all')
  check('topP', topP, topP > 0 && topP <= 1, 'above 0 and up to 1')
  check('minP', minP, minP >= 0 && minP <= 1, '0 to 1')
  check('temperature', temperature, temperature >= 0 && temperature < Infinity, 'a number of at least 0')
  check('seed', seed, Number.isSafeInteger(seed) && seed >= 0, 'a whole number from 0 to 2^53')
  return { repetitionPenalty, topK, topP, minP, temperature, seed }
}

export interface Sampler {
  /** The next token. @param context tokens so far @throws LOWBIT_NONFINITE for logits that are no numbers. */
  next(logits: Float32Array, context: readonly number[]): number
}

/** A chooser of tokens with its own stream of chance. */
export function createSampler(sampling: Sampling): Sampler {
  const random = seededRandom(sampling.seed)
  return {
    next(logits, context) {
      const penalized = penalize(logits, context, sampling.repetitionPenalty)
      const best = likeliest(penalized)
      return sampling.temperature === 0 ? best : draw(penalized, penalized[best], sampling, random)
    },
  }
}

function penalize(logits: Float32Array, context: readonly number[], penalty: number): Float32Array {
  if (penalty === 1) return logits
  const out = logits.slice()
  for (const token of new Set(context)) if (token < out.length) out[token] = out[token] > 0 ? out[token] / penalty : out[token] * penalty
  return out
}

/** Index of the greatest; the first of equals. @throws LOWBIT_NONFINITE. */
export function likeliest(logits: Float32Array): number {
  let best = 0
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i
  // A NaN never compares greater, so it may hide: a sum shows it.
  let sum = 0
  for (let i = 0; i < logits.length; i++) sum += logits[i]
  if (Number.isNaN(sum) || !Number.isFinite(logits[best])) throw new LowbitError('LOWBIT_NONFINITE', { thing: 'logits', found: 'values that are no numbers', expected: 'finite logits', fix: 'the weights of the model may be damaged' })
  return best
}

function draw(logits: Float32Array, top: number, { topK, topP, minP, temperature }: Sampling, random: () => number): number {
  const u = random()
  const isFiltered = topK > 0 || topP < 1
  // Probabilities as shares of the likeliest. A token below (1 − topP) / V cannot be in the nucleus: all of those together have
  // less than 1 − topP. So they need not be sorted.
  let total = 0
  if (topP < 1) for (let i = 0; i < logits.length; i++) total += Math.exp(logits[i] - top)
  const least = Math.max(minP, topK > 0 || topP >= 1 ? 0 : ((1 - topP) * total) / logits.length)
  let candidates: number[] = []
  for (let i = 0; i < logits.length; i++) if (least === 0 || Math.exp(logits[i] - top) >= least) candidates.push(i)
  if (isFiltered) {
    candidates = topK > 0 && topK < candidates.length ? greatest(logits, candidates, topK) : candidates.sort((a, b) => logits[b] - logits[a] || a - b)
    if (topP < 1) candidates = nucleus(logits, top, candidates, topP, topK > 0 ? undefined : total)
  }
  const weights = candidates.map((token) => Math.exp((logits[token] - top) / temperature))
  let left = u * weights.reduce((sum, w) => sum + w, 0)
  for (let i = 0; i < candidates.length; i++) {
    left -= weights[i]
    if (left < 0) return candidates[i]
  }
  // Roundings of the sum may leave a crumb.
  return candidates[candidates.length - 1]
}

/** The shortest start of a sorted list that reaches the probability; of the list alone, where no total is given. */
function nucleus(logits: Float32Array, top: number, sorted: readonly number[], topP: number, total: number | undefined): number[] {
  const shares = sorted.map((token) => Math.exp(logits[token] - top))
  const wanted = topP * (total ?? shares.reduce((sum, share) => sum + share, 0))
  let sum = 0
  let count = 0
  while (count < sorted.length && sum < wanted) sum += shares[count++]
  return sorted.slice(0, Math.max(1, count))
}

/** The `count` greatest, sorted: a heap whose root is the least of those kept. */
function greatest(logits: Float32Array, candidates: readonly number[], count: number): number[] {
  const isLess = (a: number, b: number): boolean => logits[a] < logits[b] || (logits[a] === logits[b] && a > b)
  const heap: number[] = []
  const sink = (): void => {
    for (let at = 0; ; ) {
      let least = at
      for (const child of [2 * at + 1, 2 * at + 2]) if (child < heap.length && isLess(heap[child], heap[least])) least = child
      if (least === at) return
      ;[heap[at], heap[least]] = [heap[least], heap[at]]
      at = least
    }
  }
  for (const token of candidates) {
    if (heap.length < count) {
      heap.push(token)
      for (let at = heap.length - 1; at > 0; ) {
        const parent = (at - 1) >> 1
        if (!isLess(heap[at], heap[parent])) break
        ;[heap[at], heap[parent]] = [heap[parent], heap[at]]
        at = parent
      }
    } else if (isLess(heap[0], token)) {
      heap[0] = token
      sink()
    }
  }
  return heap.sort((a, b) => logits[b] - logits[a] || a - b)
}
