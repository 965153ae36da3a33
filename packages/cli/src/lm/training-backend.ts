import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import type { TrainingBackend } from '@lowbit/core'
import type { Tensor } from '@tensorflow/tfjs-core'
import type * as Tfjs from '@tensorflow/tfjs'
import type * as Wasm from '@tensorflow/tfjs-backend-wasm'
import { optionalImport } from '../output/optional-import.js'

const PACKAGES = { what: 'training', install: 'npm install @lowbit/backend-tfjs @tensorflow/tfjs @tensorflow/tfjs-backend-wasm' } as const

/**
 * TensorFlow.js on its wasm backend, with the gradients that it lacks. (In Node the CommonJS build is the one that works.)
 * @throws LOWBIT_DEPENDENCY where it is not installed
 */
export async function loadTraining(): Promise<TrainingBackend<Tensor>> {
  const require = createRequire(import.meta.url)
  const load = <T>(name: string): Promise<T> => optionalImport<T>(() => Promise.resolve().then(() => require(name) as T), { name, ...PACKAGES })
  const ours = await optionalImport(() => import('@lowbit/backend-tfjs'), { name: '@lowbit/backend-tfjs', ...PACKAGES })
  const tf = await withoutAdvice(() => load<typeof Tfjs>('@tensorflow/tfjs'))
  const wasm = await load<typeof Wasm>('@tensorflow/tfjs-backend-wasm')
  wasm.setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`)
  await withoutAdvice(async () => {
    await tf.setBackend('wasm')
    await tf.ready()
  })
  await ours.registerWasmGradients(tf)
  return ours.tfjsTraining(tf)
}

/** tfjs tells everyone in Node to install another package, on standard error. */
async function withoutAdvice<T>(work: () => Promise<T>): Promise<T> {
  const { warn } = console
  console.warn = (...args: unknown[]) => {
    if (!String(args[0]).includes('looks like you are running TensorFlow.js in Node.js')) warn(...args)
  }
  try {
    return await work()
  } finally {
    console.warn = warn
  }
}
