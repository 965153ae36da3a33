import type { Differentiator } from '@lowbit/core'
import type { Tensor, TfCore } from '../tf.js'
import { tfjsOps } from './tfjs-ops.js'

/** {@link tfjsOps} with gradients and values: for tests, conversion and own training loops. */
export function tfjsDifferentiator(tf: TfCore): Differentiator<Tensor> {
  return {
    ops: tfjsOps(tf),
    vjp: (f, inputs, dy) => {
      const { value, grads } = tf.valueAndGrads((...args: Tensor[]) => f(args))([...inputs], dy)
      return { y: value, gradients: grads }
    },
    read: async (x) => Float32Array.from(await x.data<'float32'>()),
  }
}
