import type { Differentiator } from '@lowbit/core'
import type { Tensor, TfCore } from '../tf.js'
import { tfjsOps } from './tfjs-ops.js'

/** {@link tfjsOps} with gradients and values: for tests, conversion and own training loops. */
export function tfjsDifferentiator(tf: TfCore): Differentiator<Tensor> {
  const none = tf.customGrad((input) => ({ value: tf.scalar(0), gradFunc: () => tf.zerosLike(input as Tensor) }))
  // tfjs throws for an input that the result does not depend on; adding nothing from each connects it, with gradient zero.
  const connected = (y: Tensor, inputs: readonly Tensor[]): Tensor => inputs.reduce((sum, x) => tf.add(sum, none(x)), y)
  return {
    ops: tfjsOps(tf),
    vjp: (f, inputs, dy) => {
      const { value, grads } = tf.valueAndGrads((...args: Tensor[]) => connected(f(args), args))([...inputs], dy)
      return { y: value, gradients: grads }
    },
    read: async (x) => Float32Array.from(await x.data<'float32'>()),
  }
}
