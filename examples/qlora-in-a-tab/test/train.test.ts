import { readPeft } from '@lowbit/causal-lm'
import { filesInMemory } from '@lowbit/formats'
import { registerWasmGradients, tfjsTraining } from '@lowbit/backend-tfjs'
import { afterEach, expect, it, vi } from 'vitest'
import { tf, useBackend } from '../../../packages/backend-tfjs/test/load-tf.js'
import { tinyGguf } from '../../../packages/causal-lm/test/support/tiny-gguf.js'
import type { Answer } from '../src/messages.js'
import { trainInTab } from '../src/train.js'

afterEach(() => { vi.unstubAllGlobals() })

async function run(more: { readonly memory?: number; readonly stopAt?: number } = {}): Promise<readonly Answer[]> {
  vi.stubGlobal('navigator', { deviceMemory: more.memory ?? 8 })
  await useBackend('wasm')
  const gradients = await registerWasmGradients(tf)
  const said: Answer[] = []
  const stop = new AbortController()
  try {
    await trainInTab(tfjsTraining(tf), new Blob([await tinyGguf('llama', { type: 'Q4_0' })] as BlobPart[]), {
      name: 'tiny.gguf', text: 'the quick brown fox jumps over the lazy dog. '.repeat(12), steps: 4, rank: 2, signal: stop.signal,
      say: (answer) => {
        said.push(answer)
        if (answer.kind === 'step' && answer.step === more.stopAt) stop.abort()
      },
    })
  } finally {
    gradients.restore()
  }
  return said
}

it('trains an adapter beside the codes of a file, and gives it in two forms', async () => {
  const said = await run()
  expect(said.filter(({ kind }) => kind === 'step')).toHaveLength(4)
  const done = said.at(-1)
  if (done?.kind !== 'done') throw new Error(JSON.stringify(done))
  expect(done.files.map(({ name }) => name)).toEqual(['adapter_model.safetensors', 'adapter_config.json', 'adapter.gguf'])
  const { adapter, base } = await readPeft(filesInMemory(Object.fromEntries(done.files.map(({ name, bytes }) => [name, bytes]))))
  expect([base, adapter.rank, adapter.sites.size]).toEqual(['tiny.gguf', 2, 14])
  expect([...adapter.sites.values()].some(({ up }) => up.some((v) => v !== 0))).toBe(true)
})

it('gives what was learned until it was stopped', async () => {
  expect((await run({ stopAt: 2 })).at(-1)).toMatchObject({ kind: 'done', steps: 2 })
})

it('says before it begins that there is too little memory', async () => {
  await expect(run({ memory: 0.001 })).rejects.toThrow(/LOWBIT_LIMIT.*at most 1 MiB/)
})
