import type { Ops } from '@lowbit/core'
import { clampTo, SMALLEST_NORMAL, symmetricFromRange, type CodeRange } from './scale-rule.js'

/** Clipping ranges tried, as shares of the batch's own. */
const SHARES = [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]

/** The one scale of least squared error for a batch of activations, among some clipping ranges. Not differentiated. */
export function searchScale<T>(ops: Ops<T>, x: T, range: CodeRange): T {
  const values = ops.stopGradient(x)
  const whole = symmetricFromRange(ops, ops.min(values), ops.max(values), range, SMALLEST_NORMAL)
  const errorOf = (scale: T): T => {
    const difference = ops.sub(ops.mul(ops.rint(clampTo(ops, ops.div(values, scale), range)), scale), values)
    return ops.mean(ops.mul(difference, difference))
  }
  let best = whole
  let least = errorOf(whole)
  for (const share of SHARES.slice(1)) {
    const scale = ops.mul(whole, ops.constant(share))
    const error = errorOf(scale)
    const better = ops.sub(ops.constant(1), ops.greaterEqual(error, least))
    best = ops.where(better, scale, best)
    least = ops.minimum(error, least)
  }
  return ops.stopGradient(best)
}
