import { createRequire } from 'node:module'
import { dirname } from 'node:path'

type Tfjs = typeof import('@tensorflow/tfjs')

const require = createRequire(import.meta.url)

/** The CommonJS build: in Node the modules of tfjs-core load twice and lose their chained operations. */
export const tf: Tfjs = require('@tensorflow/tfjs')

/** Makes a backend current. `wasm` loads its binary from the installed package. */
export async function useBackend(name: 'cpu' | 'wasm'): Promise<void> {
  if (name === 'wasm' && tf.findBackendFactory('wasm') === null) {
    const wasm: typeof import('@tensorflow/tfjs-backend-wasm') = require('@tensorflow/tfjs-backend-wasm')
    wasm.setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`)
  }
  await tf.setBackend(name)
  await tf.ready()
}
