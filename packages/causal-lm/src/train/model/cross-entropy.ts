import type { Ops } from '@lowbit/core'

/**
 * `Σ weights · (log Σ exp(logits) − logits[target])`, a scalar.
 * @param logits `[rows, vocabulary]`
 * @param weights one a row, 0 for what is not learned
 */
export function crossEntropy<T>(ops: Ops<T>, logits: T, targets: readonly number[], weights: readonly number[]): T {
  const [rows, vocabulary] = ops.shape(logits)
  const taken = ops.gather(ops.reshape(logits, [rows * vocabulary, 1]), targets.map((target, row) => row * vocabulary + target))
  const losses = ops.sub(ops.logSumExp(logits, true), taken)
  return ops.sum(ops.mul(losses, ops.constant(Float32Array.from(weights), [rows, 1])))
}
