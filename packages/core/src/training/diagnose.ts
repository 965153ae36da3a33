import { LowbitError } from '../errors.js'

/** A tensor of a training step, in the order it was computed. */
export interface WatchedTensor {
  readonly layer: string
  /** `weight`, `fake-quantized weight`, `activation`, `gradient`, `scale`, `loss`. */
  readonly what: string
  readonly values: ArrayLike<number>
}

/** The first tensor of a step that holds NaN or an infinity. */
export interface NonFinite {
  readonly layer: string
  readonly what: string
  readonly index: number
  readonly value: number
  /** Elements of that tensor that are not finite, and elements in all. */
  readonly count: number
  readonly size: number
}

/** Looks through tensors in the order they were computed; `undefined` if all are finite. */
export function firstNonFinite(tensors: Iterable<WatchedTensor>): NonFinite | undefined {
  for (const { layer, what, values } of tensors) {
    let index = -1
    let count = 0
    for (let i = 0; i < values.length; i++) {
      if (Number.isFinite(values[i])) continue
      if (index < 0) index = i
      count++
    }
    if (index >= 0) return { layer, what, index, value: values[index], count, size: values.length }
  }
  return undefined
}

/**
 * The error of a training that diverged: the step, the layer and the first bad tensor.
 * @param step the step whose loss was not finite
 */
export function divergedError(step: number, loss: number, bad: NonFinite | undefined): LowbitError {
  const where = bad === undefined && Number.isFinite(loss) ? 'the step left weights that are not finite' : bad === undefined ? 'no tensor that was watched is bad: the loss function itself gave it' : `first in the ${bad.what} of layer '${bad.layer}': element ${bad.index} is ${bad.value}, ${bad.count} of ${bad.size} are not finite`
  return new LowbitError('LOWBIT_NONFINITE', {
    thing: `training step ${step}`,
    found: `loss ${loss}; ${where}`,
    expected: 'finite numbers',
    fix: 'lower the learning rate, clip gradients, or resume from the last checkpoint with a later start of quantization',
  })
}
