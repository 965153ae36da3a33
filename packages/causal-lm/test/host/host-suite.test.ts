import { describe, expect, it } from 'vitest'
import { huggingFaceWeights, openCausalLmHost, partsOf, type CausalLmHost, type ModelFile } from '@lowbit/causal-lm'
import type { Artifact, Batch, ModelHost } from '@lowbit/core'
import { hostSuite, type ReopenedModel } from '@lowbit/core/testkit'
import { memorySource, openGguf } from '@lowbit/formats/gguf'
import { ggufWeights } from '../../src/weights/gguf.js'
import { tinyFolder } from '../support/tiny-model.js'

const batches: readonly Batch[] = [1, 2].map((seed) => ({ tokens: { dtype: 'int32', shape: [2, 12], data: Int32Array.from({ length: 24 }, (_, i) => (i * 7 * seed + seed) % 96) } }))

/** One layer of each kind is enough; groups of 32 everywhere. */
const SMALL = { num_hidden_layers: 1, hidden_size: 32, intermediate_size: 64, head_dim: 16, num_attention_heads: 2, num_key_value_heads: 1 }

function tinyFile(name: string, more: Readonly<Record<string, unknown>> = {}): ModelFile {
  return { name, weights: huggingFaceWeights(tinyFolder(name, more)), ends: [], tokenizer: () => undefined, ggufTokenizer: () => undefined }
}

async function reopen(artifact: Artifact): Promise<ReopenedModel> {
  const weights = await ggufWeights(await openGguf(memorySource(artifact.bytes(), 'artifact')))
  const host = await openCausalLmHost({ name: 'artifact', weights, ends: [], tokenizer: () => undefined, ggufTokenizer: () => undefined }, { kernels: 'float' })
  const parts = new Map(partsOf(weights.config).map((part) => [part.name, part]))
  return {
    floatSites: host.sites().filter(({ id, tiedTo }) => {
      const part = parts.get(tiedTo ?? id)
      return part !== undefined && /^B?F\d/.test(weights.typeOf(part))
    }).map(({ id }) => id),
    run: (batch) => host.run(batch),
    dispose: () => host.dispose(),
  }
}

for (const [name, more] of [['llama', { ...SMALL, tie_word_embeddings: true }], ['qwen2', SMALL], ['gemma3', { ...SMALL, sliding_window_pattern: 6, query_pre_attn_scalar: 16 }]] as const) {
  describe(`${name} in plain TypeScript`, () => {
    hostSuite({ runner: { describe, it }, factory: async (): Promise<ModelHost> => openCausalLmHost(tinyFile(name, more), { kernels: 'float' }), batches, reopen, bound: 1e-5 })
  })
}

describe('llama on the kernels', () => {
  hostSuite({ runner: { describe, it }, factory: async (): Promise<ModelHost> => openCausalLmHost(tinyFile('llama', SMALL), { threads: 1 }), batches })

  it('computes what plain TypeScript does', async () => {
    const [kernels, plain] = await Promise.all([openCausalLmHost(tinyFile('llama', SMALL), { threads: 1 }), openCausalLmHost(tinyFile('llama', SMALL), { kernels: 'float' })])
    const logits = async (host: CausalLmHost): Promise<Float32Array> => (await host.run(batches[0]))['logits'].data as Float32Array
    const [a, b] = [await logits(kernels), await logits(plain)]
    expect(Math.max(...a.map((v, i) => Math.abs(v - b[i])))).toBeLessThan(1e-4)
    await kernels.dispose()
    await plain.dispose()
  })
})
