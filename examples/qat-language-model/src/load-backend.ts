import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import type { TrainingBackend } from '@lowbit/core'
import { registerWasmGradients, tfjsTraining } from '@lowbit/backend-tfjs'
import type * as Tfjs from '@tensorflow/tfjs'
import type * as Wasm from '@tensorflow/tfjs-backend-wasm'

const require = createRequire(import.meta.url)

/** TensorFlow.js on its wasm backend, with the gradients it lacks. (In Node the CommonJS build is the one that works.) */
export async function loadBackend(): Promise<TrainingBackend<Tfjs.Tensor>> {
  const tf: typeof Tfjs = require('@tensorflow/tfjs')
  const wasm: typeof Wasm = require('@tensorflow/tfjs-backend-wasm')
  wasm.setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`)
  await tf.setBackend('wasm')
  await tf.ready()
  await registerWasmGradients(tf)
  return tfjsTraining(tf)
}
