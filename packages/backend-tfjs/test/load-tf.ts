import type * as Tfjs from '@tensorflow/tfjs'
import type * as Wasm from '@tensorflow/tfjs-backend-wasm'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'

const require = createRequire(import.meta.url)

/** The CommonJS build: in Node the modules of tfjs-core load twice and lose their chained operations. */
export const tf: typeof Tfjs = require('@tensorflow/tfjs')

/** Makes a backend current. `wasm` loads its binary from the installed package. */
export async function useBackend(name: 'cpu' | 'wasm'): Promise<void> {
  if (name === 'wasm' && tf.findBackendFactory('wasm') === null) {
    const wasm: typeof Wasm = require('@tensorflow/tfjs-backend-wasm')
    wasm.setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`)
  }
  await tf.setBackend(name)
  await tf.ready()
}
