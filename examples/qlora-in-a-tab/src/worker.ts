import { registerWasmGradients, tfjsTraining } from '@lowbit/backend-tfjs'
import { filesInMemory } from '@lowbit/formats/gguf'
import * as tf from '@tensorflow/tfjs'
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm'
import simd from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url'
import threaded from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-threaded-simd.wasm?url'
import plain from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm?url'
import type { Answer, Request } from './messages.js'
import { trainInTab } from './train.js'

let training: AbortController | undefined

const say = (answer: Answer): void => {
  postMessage(answer)
}

addEventListener('message', ({ data }: MessageEvent<Request>) => {
  if (data.kind === 'stop') return training?.abort()
  train(data).catch((error: unknown) => {
    say({ kind: 'error', message: error instanceof Error ? error.message : String(error) })
  })
})

async function train({ files, text, steps, rank }: Extract<Request, { kind: 'train' }>): Promise<void> {
  training = new AbortController()
  setWasmPaths({ 'tfjs-backend-wasm.wasm': plain, 'tfjs-backend-wasm-simd.wasm': simd, 'tfjs-backend-wasm-threaded-simd.wasm': threaded })
  // The threaded build, which isolated pages get, keeps its memory to itself: gradients could not be put beside it.
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false)
  await tf.setBackend('wasm')
  await tf.ready()
  const gradients = await registerWasmGradients(tf)
  try {
    const [first] = files
    const input = files.length === 1 && first !== undefined ? first : filesInMemory(Object.fromEntries(files.map((file) => [file.name, file])))
    await trainInTab(tfjsTraining(tf), input, { name: first?.name ?? 'model', text, steps, rank, say, signal: training.signal })
  } finally {
    gradients.restore()
  }
}
