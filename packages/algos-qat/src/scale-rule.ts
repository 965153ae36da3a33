import type { Ops } from '@lowbit/core'

/** Lowest and highest code. */
export interface CodeRange {
  readonly min: number
  readonly max: number
}

/**
 * How a symmetric scale follows from the values.
 * - `no-clipping` (default): `max(min(w)/qmin, max(w)/qmax)` with the range widened to hold 0. Nothing clips, everything has a gradient,
 *   and training can be replayed.
 * - `half-range`: `absmax / ((qmax - qmin) / 2)`, so int4 divides by 7.5 (torchao's). The extreme of every group lies on a tie: exact for
 *   given weights, not reproducible over a training run.
 */
export type ScaleRule = 'no-clipping' | 'half-range'

/** 2^-126, the smallest normal float32: what scales are floored at. */
export const SMALLEST_NORMAL = 2 ** -126

/** Scale with zero point 0, one a granule, dims kept. */
export function symmetricScale<T>(ops: Ops<T>, view: T, axes: readonly number[], range: CodeRange, rule: ScaleRule, epsilon: number): T {
  const floor = ops.constant(epsilon)
  if (rule === 'half-range') return ops.maximum(ops.div(ops.max(ops.abs(view), axes, true), ops.constant((range.max - range.min) / 2)), floor)
  return symmetricFromRange(ops, ops.min(view, axes, true), ops.max(view, axes, true), range, epsilon)
}

/** `no-clipping` of a range that is already known. */
export function symmetricFromRange<T>(ops: Ops<T>, low: T, high: T, range: CodeRange, epsilon: number): T {
  const up = ops.div(ops.maximum(high, ops.constant(0)), ops.constant(range.max))
  const scale = range.min === 0 ? up : ops.maximum(ops.div(ops.minimum(low, ops.constant(0)), ops.constant(range.min)), up)
  return ops.maximum(scale, ops.constant(epsilon))
}

/** Scale and zero point of a range, widened to hold 0: `s = (hi - lo) / (qmax - qmin)`, `zp = qmin - rint(lo / s)` clamped. */
export function asymmetricFromRange<T>(ops: Ops<T>, low: T, high: T, range: CodeRange, epsilon: number): { readonly scale: T; readonly zeroPoint: T } {
  const lo = ops.minimum(low, ops.constant(0))
  const hi = ops.maximum(high, ops.constant(0))
  const scale = ops.maximum(ops.div(ops.sub(hi, lo), ops.constant(range.max - range.min)), ops.constant(epsilon))
  return { scale, zeroPoint: clampTo(ops, ops.sub(ops.constant(range.min), ops.rint(ops.div(lo, scale))), range) }
}

/** Clamped into the code range. */
export function clampTo<T>(ops: Ops<T>, x: T, range: CodeRange): T {
  return ops.minimum(ops.maximum(x, ops.constant(range.min)), ops.constant(range.max))
}

/** 1 inside the range, both ends included, else 0. */
export function insideOf<T>(ops: Ops<T>, x: T, range: CodeRange): T {
  return ops.mul(ops.greaterEqual(x, ops.constant(range.min)), ops.greaterEqual(ops.constant(range.max), x))
}
