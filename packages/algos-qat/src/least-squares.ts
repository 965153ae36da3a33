import type { Granularity } from '@lowbit/core'
import { granuleIndex, paramShape, roundHalfEven } from '@lowbit/core'
import type { CodeRange } from './scale-rule.js'

/** Candidates between no clipping and a fifth of that range; refined by a few alternating steps. */
const CANDIDATES = 40
const REFINEMENTS = 4

export interface LeastSquaresOptions {
  /** Values are `(code + offset) · scale`: ½ for balanced levels. Default 0. */
  readonly offset?: number
}

/**
 * One scale a granule, of least squared error `Σ (ŵ - w)²`: the best of a grid of clipping ranges, then alternately the codes
 * for the scale and the best scale for the codes (`Σ w·q / Σ q²`). Always positive.
 */
export function leastSquaresScales(data: Float32Array, shape: readonly number[], granularity: Granularity, range: CodeRange, options: LeastSquaresOptions = {}): Float32Array {
  const { offset = 0 } = options
  const grid = paramShape(granularity, shape)
  const of = granuleIndex(granularity, shape)
  const members: number[][] = Array.from({ length: grid.reduce((a, b) => a * b, 1) }, () => [])
  for (let i = 0; i < data.length; i++) members[of(i)].push(data[i])
  return Float32Array.from(members, (values) => bestScale(values, range, offset))
}

function bestScale(values: readonly number[], range: CodeRange, offset: number): number {
  const low = range.min + offset
  const high = range.max + offset
  let start = 0
  for (const v of values) start = Math.max(start, v > 0 ? v / Math.max(high, 0.5) : v / Math.min(low, -0.5))
  // A granule of zeros: any scale will do, and this one lets it learn.
  if (!(start > 0)) return 1e-3
  const level = (v: number, s: number): number => Math.min(high, Math.max(low, roundHalfEven(v / s - offset) + offset))
  const error = (s: number): number => {
    let sum = 0
    for (const v of values) sum += (level(v, s) * s - v) ** 2
    return sum
  }
  let best = start
  let least = error(start)
  const keep = (s: number): void => {
    const e = error(s)
    if (e < least) {
      least = e
      best = s
    }
  }
  for (let i = 1; i < CANDIDATES; i++) keep(start * (1 - (0.8 * i) / CANDIDATES))
  for (let i = 0; i < REFINEMENTS; i++) {
    let product = 0
    let square = 0
    for (const v of values) {
      const q = level(v, best)
      product += v * q
      square += q * q
    }
    if (!(square > 0) || !(product > 0)) break
    keep(product / square)
  }
  return best
}
