import { resolveOptions, type DeclarationsOf, type Ops } from '@lowbit/core'

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

export interface DistillationOptions {
  /** T: above 1 the teacher's small probabilities count for more. Default 2. */
  readonly temperature?: number
  /** The term's share beside the model's own loss. Default 1. */
  readonly weight?: number
}

/** What {@link distillation} takes. */
export const DISTILLATION_OPTIONS = {
  temperature: { type: 'number', above: 0, default: 2, about: 'above 1 the small probabilities of the teacher count for more' },
  weight: { type: 'number', minimum: 0, default: 1, about: 'share of the term beside the loss of the model itself' },
} as const satisfies DeclarationsOf<DistillationOptions>

/** A loss term against a teacher's logits, for any backend's operations. */
export interface Distillation {
  loss<T>(ops: Ops<T>, student: T, teacher: T): T
}

/** `weight · distillationLoss` as a value to hand to a backend's `distil`. */
export function distillation(options: DistillationOptions = {}): Distillation {
  const { temperature, weight } = resolveOptions<DistillationOptions, typeof DISTILLATION_OPTIONS>(DISTILLATION_OPTIONS, options, 'distillation')
  return { loss: (ops, student, teacher) => ops.mul(ops.constant(weight), distillationLoss(ops, student, teacher, temperature)) }
}
