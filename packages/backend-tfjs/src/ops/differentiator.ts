import type { Differentiator } from '@lowbit/core'
import type { Tensor, TfCore } from '../tf.js'
import { tfjsOps } from './tfjs-ops.js'

/** {@link tfjsOps} with gradients and values: for tests, conversion and own training loops. */
export function tfjsDifferentiator(tf: TfCore): Differentiator<Tensor> {
  return {
    ops: tfjsOps(tf),
    vjp: (f, inputs, dy) => {
      const engine = tf.engine()
      // The nodes of a gradient that is being computed around this one: the engine keeps one list, and throws it away at the end.
      const outer = engine.state.activeTape
      try {
        // An input that the result does not depend on has no gradient here, where tfjs's own functions throw.
        const { value, grads } = engine.gradients(() => f(inputs), [...inputs], dy, true)
        return { y: value, gradients: inputs.map((x, i) => (grads as (Tensor | null)[])[i] ?? tf.zerosLike(x)) }
      } finally {
        engine.state.activeTape = outer
      }
    },
    read: async (x) => Float32Array.from(await x.data<'float32'>()),
  }
}
