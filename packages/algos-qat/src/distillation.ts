import type { Ops } from '@lowbit/core'

/** `log softmax` over the last axis, shifted by the largest so that nothing overflows. */
export function logSoftmax<T>(ops: Ops<T>, logits: T): T {
  const shifted = ops.sub(logits, ops.stopGradient(ops.max(logits, [-1], true)))
  return ops.sub(shifted, ops.log(ops.sum(ops.exp(shifted), [-1], true)))
}

/**
 * Distillation from the float model (Hinton et al. 2015): the mean over rows of `T² · KL(teacher ‖ student)` at temperature T.
 * The teacher gets no gradient.
 * @param student, teacher logits `[…, classes]`
 */
export function distillationLoss<T>(ops: Ops<T>, student: T, teacher: T, temperature = 1): T {
  const heat = ops.constant(1 / temperature)
  const wanted = ops.stopGradient(logSoftmax(ops, ops.mul(teacher, heat)))
  const got = logSoftmax(ops, ops.mul(student, heat))
  const divergence = ops.sum(ops.mul(ops.exp(wanted), ops.sub(wanted, got)), [-1])
  return ops.mul(ops.constant(temperature ** 2), ops.mean(divergence))
}
