import { registerWasmGradients, tfjsTraining } from '@lowbit/backend-tfjs'
import { openCausalLm, readPeft } from '@lowbit/causal-lm'
import { filesInMemory } from '@lowbit/formats/gguf'
import * as tf from '@tensorflow/tfjs'
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm'
import plain from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm?url'
import simd from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url'
import threaded from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-threaded-simd.wasm?url'
import { expect, it } from 'vitest'
import { tinyGguf } from '../../../packages/causal-lm/test/support/tiny-gguf.js'
import type { Answer } from '../src/messages.js'
import { trainInTab } from '../src/train.js'

it('trains an adapter in a browser, which runs beside its base there', async () => {
  setWasmPaths({ 'tfjs-backend-wasm.wasm': plain, 'tfjs-backend-wasm-simd.wasm': simd, 'tfjs-backend-wasm-threaded-simd.wasm': threaded })
  // The threaded build, which isolated pages get, keeps its memory to itself: gradients could not be put beside it.
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false)
  await tf.setBackend('wasm')
  await tf.ready()
  const gradients = await registerWasmGradients(tf)
  const model = new Blob([await tinyGguf('llama', { type: 'Q4_0' })] as BlobPart[])
  const said: Answer[] = []
  await trainInTab(tfjsTraining(tf), model, { name: 'tiny.gguf', text: 'the quick brown fox jumps over the lazy dog. '.repeat(12), steps: 3, rank: 2, signal: new AbortController().signal, say: (answer) => said.push(answer) })
  gradients.restore()
  const done = said.at(-1)
  if (done?.kind !== 'done') throw new Error(JSON.stringify(done))
  const losses = said.flatMap((a) => (a.kind === 'step' ? [a.loss] : []))
  expect(losses.every(Number.isFinite)).toBe(true)
  const { adapter } = await readPeft(filesInMemory(Object.fromEntries(done.files.map(({ name, bytes }) => [name, bytes]))))
  using beside = await openCausalLm(model, { adapter })
  expect((await beside.generate('the quick', { maxTokens: 4 }).result()).tokens.length).toBeGreaterThan(0)
})
