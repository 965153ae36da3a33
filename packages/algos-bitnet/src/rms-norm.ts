import type { Ops } from '@lowbit/core'

/** `x / sqrt(mean(x²) + ε) · gain` over the last axis. */
export function rmsNorm<T>(ops: Ops<T>, x: T, gain?: T, epsilon = 1e-6): T {
  const size = ops.sqrt(ops.add(ops.mean(ops.mul(x, x), [-1], true), ops.constant(epsilon)))
  const normed = ops.div(x, size)
  return gain === undefined ? normed : ops.mul(normed, gain)
}
