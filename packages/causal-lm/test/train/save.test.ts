import { dequantize, type QTensor, type TrainingRecipe } from '@lowbit/core'
import { bitnetRecipe } from '@lowbit/algos-bitnet'
import { binaryWeights, int2BalancedWeights, int8DynamicInt4Weights, intWeights, ternaryWeights } from '@lowbit/algos-qat'
import { ARCHITECTURES, huggingFaceWeights, openCausalLm, openModelFile, partsOf, type ModelMatrix } from '@lowbit/causal-lm'
import { convertTrained, fineTune, modelFolder, packSamples, trainableFrom, trainedGguf, trainedSource, type TrainedModel } from '@lowbit/causal-lm/train'
import { filesInMemory } from '@lowbit/formats'
import { describe, expect, it } from 'vitest'
import { matrixFloats } from '../../src/weights/matrix.js'
import { tinyFolder } from '../support/tiny-model.js'
import { referenceTraining } from './backends.js'

const SMALL = { hidden_size: 32, num_attention_heads: 2, num_key_value_heads: 1, head_dim: 16, intermediate_size: 44, vocab_size: 24, max_position_embeddings: 16, tie_word_embeddings: true }
const windows = packSamples([{ tokens: Array.from({ length: 60 }, (_, i) => (i * 7) % 24) }], 6)

async function trained(recipe: TrainingRecipe, more: Readonly<Record<string, unknown>> = {}, name = 'llama'): Promise<{ readonly converted: TrainedModel; weight(part: string): Promise<Float32Array> }> {
  const model = await trainableFrom(huggingFaceWeights(tinyFolder(name, { ...SMALL, ...more })), { backend: referenceTraining(), recipe })
  await fineTune(model, { windows, steps: 2, batch: 1, learningRate: 1e-2 })
  return { converted: await convertTrained(model), weight: (part) => model.weight(part) }
}

const { weights } = int8DynamicInt4Weights({ group: 32 })
const RECIPES: Readonly<Record<string, TrainingRecipe>> = {
  '8da4w, short last groups, the embedding too': { ...int8DynamicInt4Weights({ group: 32 }), overrides: [{ match: 'embed', weights: weights ?? null }] },
  'int3 and an int8 embedding': { ...intWeights(3, { group: 32 }), overrides: [{ match: 'embed', weights: intWeights(8).weights ?? null }] },
  'balanced int2': int2BalancedWeights({ group: 16 }),
  'int2 a channel': intWeights(2),
  ternary: ternaryWeights({ group: 32 }),
  binary: binaryWeights(),
  bitnet: bitnetRecipe(),
}

/** Codes around their zero point, in whole steps of a level. */
function levels(m: ModelMatrix | QTensor): { readonly levels: number[]; readonly values: Float32Array } {
  if (!('codes' in m) || !('scheme' in m)) throw new Error('no codes')
  const each = m.codes.length / m.params.scales.length
  const { granularity } = m.scheme
  const [, k] = m.shape
  const of = (i: number): number => (granularity.kind === 'group' ? Math.floor(i / k) * Math.ceil(k / granularity.size) + Math.floor((i % k) / granularity.size) : Math.floor(i / each))
  const middle = m.scheme.symmetric ? 0 : undefined
  return { levels: Array.from(m.codes, (code, i) => code - (m.params.zeroPoints?.[of(i)] ?? middle ?? 0)), values: dequantize(m).data }
}

describe('a trained model that is saved', () => {
  it.each(Object.keys(RECIPES))('has the codes of its training: %s', async (key) => {
    const { converted, weight } = await trained(RECIPES[key])
    expect(converted.codes.size).toBe(key.includes('embedding') ? 15 : 14)
    const files = await modelFolder(converted, { floats: 'float32' })
    expect([...files.keys()].at(-1)).toBe('config.json')
    const opened = await openModelFile(filesInMemory(Object.fromEntries(files)))
    expect(opened.weights.config).toEqual({ ...converted.config, rotary: opened.weights.config.rotary })
    for (const part of partsOf(converted.config)) {
      if (part.kind === 'vector') {
        expect([...await opened.weights.vector(part)]).toEqual([...(converted.vectors.get(part.name) ?? [])])
        continue
      }
      const read = await opened.weights.matrix(part)
      const q = converted.codes.get(part.name)
      if (q === undefined) {
        expect([...matrixFloats(read).data]).toEqual([...(converted.floats.get(part.name) ?? [])])
        continue
      }
      // What the forward pass multiplied with is what the codes say.
      expect([...dequantize(q).data].map((v) => v + 0)).toEqual([...await weight(part.name)].map((v) => v + 0))
      const [before, after] = [levels(q), levels(read)]
      const by = key === 'balanced int2' ? 2 : 1
      expect(after.levels).toEqual(before.levels.map((level) => level * by))
      // Scales are float16 in the file.
      after.values.forEach((v, i) => expect(Math.abs(v - before.values[i])).toBeLessThanOrEqual(2 ** -11 * Math.abs(before.values[i]) + 1e-9))
    }
  })

  it('has the same codes in GGUF, where rows are whole blocks', async () => {
    const { converted } = await trained({ ...int8DynamicInt4Weights({ group: 32 }), overrides: [{ match: 'embed', weights: weights ?? null }] }, { intermediate_size: 64 })
    const artifact = await trainedGguf(converted)
    const opened = await openModelFile(artifact.bytes() as Uint8Array<ArrayBuffer>)
    for (const part of partsOf(converted.config)) {
      const q = converted.codes.get(part.name)
      const read = part.kind === 'matrix' ? await opened.weights.matrix(part) : undefined
      if (q === undefined || read === undefined || !('codes' in read)) continue
      expect([...read.codes], part.name).toEqual([...q.codes])
    }
  })

  it.each(ARCHITECTURES.map(({ name }) => name))('of %s opens, and runs as it was trained', async (name) => {
    const { converted } = await trained({}, name === 'gemma3' ? { sliding_window: 4 } : {}, name).catch((error: unknown) => {
      if (name === 'bitnet') return trained(bitnetRecipe(), {}, name)
      throw error
    })
    const files = await modelFolder(converted, { floats: 'float32' })
    using model = await openCausalLm(filesInMemory(Object.fromEntries(files)), { kernels: 'float', tokenizer: 'none', cache: 'float32' })
    const session = model.session({ wanted: 6, rows: 6 })
    const tokens = windows[0].inputs.slice()
    const logits = await session.score(tokens, 6)
    const recipe = name === 'bitnet' ? { activations: bitnetRecipe().activations ?? neither() } : {}
    const again = await trainableFrom({ ...trainedSource(converted), matrix: async (part) => matrixFloats(await trainedSource(converted).matrix(part)) }, { backend: referenceTraining(), recipe })
    // Scales of float16, and activations that fall to the next of 127 codes by them.
    const near = name === 'bitnet' ? 0.06 : 1e-4
    again.logits([tokens]).data.forEach((v, i) => expect(Math.abs(logits[i] - v)).toBeLessThan(near))
  })

  it('takes what it needs from the folder that it came from', async () => {
    const { converted } = await trained(intWeights(4))
    const text = (value: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value))
    const files = await modelFolder(converted, { files: filesInMemory({ 'config.json': text({ architectures: ['LlamaForCausalLM'], quantization_config: { quant_method: 'gptq' }, num_hidden_layers: 99 }), 'tokenizer.json': text({ a: 1 }), 'generation_config.json': text({ eos_token_id: 2 }) }) })
    const config = JSON.parse(new TextDecoder().decode(files.get('config.json'))) as Record<string, unknown>
    expect(config).toMatchObject({ architectures: ['LlamaForCausalLM'], num_hidden_layers: 2, quantization_config: { quant_method: 'compressed-tensors' } })
    expect([...files.keys()]).toEqual(['model.safetensors', 'tokenizer.json', 'generation_config.json', 'config.json'])
  })
})

function neither(): never {
  throw new Error('the recipe has no activations')
}
