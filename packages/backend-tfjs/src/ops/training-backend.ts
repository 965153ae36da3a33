import type { TrainingBackend } from '@lowbit/core'
import type { Tensor, TfCore } from '../tf.js'
import { tfjsDifferentiator } from './differentiator.js'

/**
 * TensorFlow.js for training loops that are written against core: on the backend that is current when they run.
 * On wasm call `registerWasmGradients` first.
 */
export function tfjsTraining(tf: TfCore): TrainingBackend<Tensor> {
  return {
    ...tfjsDifferentiator(tf),
    get name() {
      return `tfjs ${tf.getBackend()}`
    },
    scope: (f) => tf.tidy(() => [...f()]),
    keep: (x) => tf.keep(x),
    release: (x) => {
      x.dispose()
    },
    alive: () => tf.memory().numTensors,
  }
}
