import type { GradConfig } from '@tensorflow/tfjs-core'
import type { TfCore } from '../tf.js'

/**
 * Gradient of tile as one sum. tfjs adds one slice a repetition: the gradient of its LayerNormalization, which tiles mean and
 * variance over the features, takes thousands of operations.
 */
export function tileGradient(tf: TfCore): GradConfig {
  return {
    kernelName: 'Tile',
    inputsToSave: ['x'],
    gradFunc: (dy, saved, attrs) => ({
      x: () => {
        const [x] = saved
        const given: unknown = attrs['reps']
        const reps = Array.isArray(given) ? given.map(Number) : []
        const parts = x.shape.flatMap((size, axis) => [...(reps[axis] > 1 ? [{ size: reps[axis], repeated: true }] : []), ...(size > 1 || reps[axis] <= 1 ? [{ size, repeated: false }] : [])])
        const spread = tf.reshape(Array.isArray(dy) ? dy[0] : dy, parts.map((p) => p.size))
        const axes = parts.flatMap((p, i) => (p.repeated ? [i] : []))
        return tf.reshape(axes.length === 0 ? spread : tf.sum(spread, axes), x.shape)
      },
    }),
  }
}
