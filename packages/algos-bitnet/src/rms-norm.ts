import type { Ops } from '@lowbit/core'

/** `x / sqrt(mean(x²) + ε) · gain` over the last axis. */
export function rmsNorm<T>(ops: Ops<T>, x: T, gain?: T, epsilon = 1e-6): T {
  // By hand: half the operations that the chain rule of the formula would record.
  const normed = ops.custom(
    [x],
    ([v]) => {
      const size = ops.sqrt(ops.add(ops.mean(ops.mul(v, v), [-1], true), ops.constant(epsilon)))
      const output = ops.div(v, size)
      return { output, saved: [output, size] }
    },
    (dy, [y, size]) => [ops.div(ops.sub(dy, ops.mul(y, ops.mean(ops.mul(dy, y), [-1], true))), size)],
  )
  return gain === undefined ? normed : ops.mul(normed, gain)
}
