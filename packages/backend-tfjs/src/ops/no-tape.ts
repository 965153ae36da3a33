import type { Tensor, TfCore } from '../tf.js'

/**
 * Runs `f` with the gradient tape off: its result is a constant to whatever is differentiated. Inside the forward function of
 * `customGrad` nothing is recorded, and a path over the dummy input leads to no variable, so nothing upstream is computed
 * for it (a gradient of zeros would run the whole backward pass of `f`'s inputs).
 */
export function noTape(tf: TfCore, f: () => Tensor): Tensor {
  const constant = tf.customGrad((dummy) => ({
    value: f(),
    gradFunc: () => tf.zerosLike(dummy as Tensor),
  }))
  return constant(tf.scalar(0))
}
