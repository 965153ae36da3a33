import { describe, expect, it } from 'vitest'
import { huggingFaceWeights, openCausalLmHost, type ModelFile } from '@lowbit/causal-lm'
import { int4, quantize, roundToNearest, rtn, uint4, type Batch, type ModelHost } from '@lowbit/core'
import { hostSuite } from '@lowbit/core/testkit'
import { memorySource, openGguf } from '@lowbit/formats/gguf'
import { ggufWeights } from '../../src/weights/gguf.js'
import { tinyFolder } from '../support/tiny-model.js'

const batches: readonly Batch[] = [1, 2].map((seed) => ({ tokens: { dtype: 'int32', shape: [2, 12], data: Int32Array.from({ length: 24 }, (_, i) => (i * 7 * seed + seed) % 96) } }))

/** One layer of each kind is enough; groups of 32 everywhere. */
const SMALL = { num_hidden_layers: 1, hidden_size: 32, intermediate_size: 64, head_dim: 16, num_attention_heads: 2, num_key_value_heads: 1 }

function tinyFile(name: string, more: Readonly<Record<string, unknown>> = {}): ModelFile {
  return { name, weights: huggingFaceWeights(tinyFolder(name, more)), ends: [], tokenizer: () => undefined, ggufTokenizer: () => undefined }
}

for (const [name, more] of [['llama', { ...SMALL, tie_word_embeddings: true }], ['qwen2', SMALL], ['gemma3', { ...SMALL, sliding_window_pattern: 6, query_pre_attn_scalar: 16 }]] as const) {
  describe(`${name} in plain TypeScript`, () => {
    hostSuite({ runner: { describe, it }, factory: async (): Promise<ModelHost> => openCausalLmHost(tinyFile(name, more), { kernels: 'float' }), batches })
  })
}

describe('llama on the kernels', () => {
  hostSuite({ runner: { describe, it }, factory: async (): Promise<ModelHost> => openCausalLmHost(tinyFile('llama', SMALL), { threads: 1 }), batches })

  it('computes what plain TypeScript does', async () => {
    const [kernels, plain] = await Promise.all([openCausalLmHost(tinyFile('llama', SMALL), { threads: 1 }), openCausalLmHost(tinyFile('llama', SMALL), { kernels: 'float' })])
    const [a, b] = [await logitsOf(kernels), await logitsOf(plain)]
    expect(Math.max(...a.map((v, i) => Math.abs(v - b[i])))).toBeLessThan(1e-4)
    await kernels.dispose()
    await plain.dispose()
  })
})

describe('X̂ᵀX', () => {
  it('has transforms on both sides, and decisions on one', async () => {
    const host = await openCausalLmHost(tinyFile('llama', { ...SMALL, num_hidden_layers: 2 }), { kernels: 'float' })
    const group = host.foldGroups().at(-1)
    const first = host.sites().find((s) => s.kind === 'linear')
    if (group === undefined || first === undefined || group.sites.includes(first.id)) throw new Error('a model without fold groups')
    const target = { site: group.sites[0] }
    const requests = [{ statistic: 'gram', target }, { statistic: 'cross-gram', target }] as const
    const plain = (await host.observe([requests[0]], batches)).get(requests[0])
    await host.apply(group.id, { kind: 'scale', scales: Float32Array.from({ length: group.channels }, (_, i) => 1 + i / 8) })
    const scaled = await host.observe(requests, batches)
    expect(scaled.get(requests[0])).not.toEqual(plain)
    // Sums in another order.
    const [own, crossed] = requests.map((r) => scaled.get(r)?.data ?? [])
    const largest = Math.max(...own)
    expect(largest).toBeGreaterThan(0)
    own.forEach((v, i) => expect(Math.abs(v - crossed[i])).toBeLessThan(1e-5 * largest))
    const weight = await host.readWeight(first.id)
    host.assign(first.id, roundToNearest(weight.data, weight.shape[0], weight.shape[1], int4({ group: 32 })))
    const decided = await host.observe(requests, batches)
    expect(decided.get(requests[1])).not.toEqual(decided.get(requests[0]))
    await host.dispose()
  })
})

describe('a GGUF file', () => {
  const schemes = [int4({ group: 32 }), uint4({ group: 32, symmetric: false }), int4(), { ...int4(), dtype: 'ternary' }] as const
  it.each(['llama', 'qwen2', 'qwen3', 'gemma3'])('of %s computes what the host does with the decisions', async (name) => {
    const more = { ...SMALL, sliding_window_pattern: 6, query_pre_attn_scalar: 16, tie_word_embeddings: name === 'llama' }
    for (const weights of schemes) {
      const host = await openCausalLmHost(tinyFile(name, more), { kernels: 'float' })
      const { artifact } = await quantize(host, { format: 'gguf', weights, exclude: ['embed'] })
      const source = await ggufWeights(await openGguf(memorySource(artifact.bytes(), 'artifact')))
      const reopened = await openCausalLmHost({ name, weights: source, ends: [], tokenizer: () => undefined, ggufTokenizer: () => undefined }, { kernels: 'float' })
      const [a, b] = [await logitsOf(host), await logitsOf(reopened)]
      expect(Math.max(...a.map((v, i) => Math.abs(v - b[i]))) / Math.max(...a.map(Math.abs))).toBeLessThan(1e-5)
      await host.dispose()
      await reopened.dispose()
    }
  })
})

async function logitsOf(host: ModelHost): Promise<Float32Array> {
  return (await host.run(batches[0]))['logits'].data as Float32Array
}

describe('windows that are given once', () => {
  it('are taken whole: by statistics that walk twice, and by a whole run', async () => {
    const open = (): Promise<ModelHost> => openCausalLmHost(tinyFile('llama', { ...SMALL, num_hidden_layers: 2 }), { kernels: 'float' })
    const [a, b] = [await open(), await open()]
    const requests = a.sites().filter((s) => s.kind === 'linear').flatMap(({ id }) => (['gram', 'cross-gram'] as const).map((statistic) => ({ statistic, target: { site: id } })))
    const [want, got] = [await a.observe(requests, batches), await b.observe(requests, batches.values())]
    for (const request of requests) expect(got.get(request)).toEqual(want.get(request))
    const search = { weights: int4({ group: 32 }), rounding: rtn({ range: 'search-gram' }) } as const
    const files = [(await quantize(a, { ...search, calibration: batches })).artifact.bytes(), (await quantize(b, { ...search, calibration: batches.values() })).artifact.bytes()]
    expect(files[1]).toEqual(files[0])
    for (const host of [a, b]) await host.dispose()
  })
})
