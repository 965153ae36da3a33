import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { registerWasmGradients } from '@lowbit/backend-tfjs'
import type * as Tfjs from '@tensorflow/tfjs'
import type * as Wasm from '@tensorflow/tfjs-backend-wasm'

export type Tf = typeof Tfjs

const require = createRequire(import.meta.url)

/** TensorFlow.js on its wasm backend, with the gradients it lacks. (In Node the CommonJS build is the one that works.) */
export async function loadTf(): Promise<Tf> {
  const tf: Tf = require('@tensorflow/tfjs')
  const wasm: typeof Wasm = require('@tensorflow/tfjs-backend-wasm')
  wasm.setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`)
  await tf.setBackend('wasm')
  await tf.ready()
  await registerWasmGradients(tf)
  return tf
}
