import { describe, expect, it } from 'vitest'
import { int4, int8, type CacheType, type Scheme, type SyncKernelProvider } from '@lowbit/core'
import { createWasmKernels, type WasmKernelOptions } from '@lowbit/kernels-wasm'
import { ARCHITECTURES, CausalLm, huggingFaceWeights, kernelKeeper, loadWeights, measureDivergence, plainKeeper, type Keeper, type LoadOptions, type ModelMatrix } from '@lowbit/causal-lm'
import { letters } from './support/letters.js'
import { tinyFolder } from './support/tiny-model.js'

const DEFAULTS = { context: 64, cache: 'float16', activations: 'int8' } as const
const TEXT = 'The quick brown fox jumps over the lazy dog, again and again.'

async function onKernels(name: string, kernels: SyncKernelProvider, options: LoadOptions = {}, activations: 'int8' | 'float32' = 'int8'): Promise<CausalLm> {
  const source = huggingFaceWeights(tinyFolder(name))
  return new CausalLm({ name, format: 'huggingface', config: source.config, tokenizer: letters(), ends: [], weights: { kind: 'kernels', kernels, isOwn: false, loaded: await loadWeights(source, kernelKeeper(kernels), options) }, defaults: { ...DEFAULTS, activations } })
}

async function inFloat(name: string, options: LoadOptions = {}, activations: 'int8' | 'float32' = 'int8'): Promise<CausalLm> {
  const source = huggingFaceWeights(tinyFolder(name))
  return new CausalLm({ name, format: 'huggingface', config: source.config, tokenizer: letters(), ends: [], weights: { kind: 'float', loaded: await loadWeights(source, withoutTables, options) }, defaults: { ...DEFAULTS, activations } })
}

/** Like kernels, it holds NF4 as whole numbers: the same weights on both sides. */
const withoutTables: Keeper<ModelMatrix> = { keep: (matrix) => ('scheme' in matrix && matrix.scheme.dtype === 'nf4' ? undefined : plainKeeper.keep(matrix)) }

/** Mean and largest divergence of one from the other on a text. */
async function divergence(a: CausalLm, b: CausalLm, cache: CacheType = 'float32'): Promise<{ readonly mean: number; readonly max: number }> {
  using left = a.session({ rows: 16, wanted: 16, cache })
  using right = b.session({ rows: 16, wanted: 16, cache })
  const { kl } = await measureDivergence(left, right, letters().encode(TEXT))
  return { mean: kl.mean.value, max: kl.max }
}

describe.each(ARCHITECTURES.map(({ name }) => name))('%s on WebAssembly kernels', (name) => {
  it('computes in float what the interpreter computes', async () => {
    using kernels = await createWasmKernels({ threads: 1 })
    using fast = await onKernels(name, kernels, {}, 'float32')
    using slow = await inFloat(name, {}, 'float32')
    // float32 sums in another order, about 60 steps: 1e-6 of logits of about 3, squared.
    expect((await divergence(fast, slow)).max).toBeLessThan(1e-9)
  })

  it.each<[string, Scheme]>([['int4', int4({ group: 32 })], ['int8', int8()], ['nf4', { dtype: 'nf4', granularity: { kind: 'group', axis: 1, size: 64 }, symmetric: true }]])('computes with %s weights what the interpreter computes', async (_, weights) => {
    using kernels = await createWasmKernels({ threads: 1 })
    using fast = await onKernels(name, kernels, { weights })
    using slow = await inFloat(name, { weights })
    // An activation on the edge of two codes may fall to either side: a 127th of the largest, here and there.
    expect((await divergence(fast, slow)).mean).toBeLessThan(2e-4)
  })
})

describe('the same seed', () => {
  const engines: readonly WasmKernelOptions[] = [{ tier: 'simd128', threads: 1 }, { tier: 'simd128', threads: 2 }, { tier: 'scalar' }]

  it.each(['llama', 'gemma3'])('gives the same text on every tier and number of threads (%s)', async (name) => {
    const texts: string[] = []
    for (const options of engines) {
      using kernels = await createWasmKernels(options)
      using lm = await onKernels(name, kernels, { weights: int4({ group: 32 }) })
      texts.push((await lm.generate('Hello there', { maxTokens: 40, temperature: 1.2, topP: 0.95, seed: 5 }).result()).text)
    }
    using best = await createWasmKernels()
    using lm = await onKernels(name, best, { weights: int4({ group: 32 }) })
    texts.push((await lm.generate('Hello there', { maxTokens: 40, temperature: 1.2, topP: 0.95, seed: 5 }).result()).text)
    expect(new Set(texts).size, JSON.stringify(texts)).toBe(1)
  })

  it('gives the same text after a prompt that was known and after one that was not', async () => {
    using kernels = await createWasmKernels({ threads: 1 })
    using lm = await onKernels('llama', kernels, { weights: int4({ group: 32 }) })
    const options = { maxTokens: 20, temperature: 1, seed: 9 }
    const first = await lm.generate('Hello there', options).result()
    const again = await lm.generate('Hello there', options).result()
    expect(again.reusedTokens).toBeGreaterThan(0)
    expect(again.tokens).toEqual(first.tokens)
  })
})
