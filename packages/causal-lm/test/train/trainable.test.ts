import { int3, weightScheme, type TrainingRecipe } from '@lowbit/core'
import { bitnetRecipe } from '@lowbit/algos-bitnet'
import { binaryWeights, distillation, int2BalancedWeights, int8DynamicInt4Weights, intWeights, stabilize, ternaryWeights } from '@lowbit/algos-qat'
import { tfjsTraining, registerWasmGradients } from '@lowbit/backend-tfjs'
import { ARCHITECTURES, huggingFaceWeights } from '@lowbit/causal-lm'
import { trainableFrom, type TokenBatch, type TrainableLm, type TrainableOptions } from '@lowbit/causal-lm/train'
import { describe, expect, it } from 'vitest'
import { tf, useBackend } from '../../../backend-tfjs/test/load-tf.js'
import { tinyFolder } from '../support/tiny-model.js'
import { referenceTraining } from './backends.js'

const SMALL = { hidden_size: 16, num_attention_heads: 2, num_key_value_heads: 1, head_dim: 8, intermediate_size: 20, vocab_size: 24, max_position_embeddings: 16 }

const BATCH: TokenBatch = {
  inputs: [[1, 7, 4, 9, 20, 3], [5, 1, 3, 2, 12, 7]],
  targets: [[7, 4, 9, 20, 3, 2], [1, 3, 2, 12, 7, 8]],
  weights: [[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0.5, 1]],
}

const open = <T>(name: string, options: TrainableOptions<T>, more: Readonly<Record<string, unknown>> = {}): Promise<TrainableLm<T>> => trainableFrom(huggingFaceWeights(tinyFolder(name, { ...SMALL, ...more })), options)

const mean = (b: TokenBatch): number => b.weights.flat().reduce((x, y) => x + y, 0)

function expectNear(got: ArrayLike<number>, want: ArrayLike<number>, share: number, what: string): void {
  const largest = Array.from(want).reduce((m, v) => Math.max(m, Math.abs(v)), 1e-9)
  const worst = Array.from(got).reduce((m, v, i) => Math.max(m, Math.abs(v - want[i])), 0)
  expect(got.length, what).toBe(want.length)
  expect(worst, what).toBeLessThanOrEqual(share * largest)
}

describe('gradients of a decoder', () => {
  it.each(ARCHITECTURES.map(({ name }) => name))('of %s are those of central differences', async (name) => {
    const recipe = name === 'bitnet' ? {} : undefined
    const model = await open(name, { backend: referenceTraining('float64'), ...(recipe === undefined ? {} : { recipe }) }, name === 'gemma3' ? { sliding_window: 4 } : {})
    const { loss, gradients } = await model.gradients(BATCH)
    expect(loss).toBeCloseTo(await model.loss(BATCH) / mean(BATCH), 5)
    const { parameters, trained } = model.parts
    expect([...gradients.keys()].sort()).toEqual([...trained].sort())
    for (const parameter of parameters.list().filter(({ name: n }) => /embed|layers\.1\.(q|down|q\.norm|q\.bias)$|norm$/.test(n))) {
      const at = Math.floor(parameter.values.length / 3)
      const kept = parameter.values[at]
      const side = async (step: number): Promise<number> => {
        parameter.values[at] = kept + step
        const exact = parameter.values[at]
        parameters.refresh(parameter.name)
        return [await model.gradients(BATCH).then((r) => r.loss), exact][0]
      }
      const [up, down] = [await side(2 ** -8), await side(-(2 ** -8))]
      parameter.values[at] = kept
      parameters.refresh(parameter.name)
      // The second-order error of the difference, and the losses' float32 when they are read.
      expect((up - down) / 2 ** -7, parameter.name).toBeCloseTo(gradients.get(parameter.name)?.[at] ?? NaN, 3)
    }
  })

  const recipes: Readonly<Record<string, TrainingRecipe>> = {
    '8da4w': int8DynamicInt4Weights({ group: 8 }),
    'int4 channel': intWeights(4),
    int3: intWeights(3, { group: 8 }),
    int2: intWeights(2, { group: 8 }),
    'balanced int2': int2BalancedWeights({ group: 8 }),
    ternary: ternaryWeights({ group: 8 }),
    binary: binaryWeights(),
    bitnet: bitnetRecipe(),
    'int4 with the embedding': { ...int8DynamicInt4Weights({ group: 8 }), overrides: [{ match: 'embed', weights: int8DynamicInt4Weights({ group: 8 }).weights ?? null }] },
    'watched int3': stabilize(intWeights(3, { group: 8 }), { dampening: { lambda: { from: 0.1, to: 0.1, steps: 1 } } }),
  }

  it.each(Object.keys(recipes))('under %s are the reference’s on tfjs, whole and in pieces', async (key) => {
    await useBackend('cpu')
    const recipe = recipes[key]
    const reference = await open('llama', { backend: referenceTraining(), recipe }, { tie_word_embeddings: true })
    const want = await reference.gradients(BATCH)
    const whole = await open('llama', { backend: tfjsTraining(tf), recipe }, { tie_word_embeddings: true })
    const pieces = await open('llama', { backend: tfjsTraining(tf), recipe, recompute: 1, logitRows: 5 }, { tie_word_embeddings: true })
    const sites = [...whole.parts.planned.values()].filter(({ weight }) => weight !== undefined)
    expect(sites).toHaveLength(key === 'int4 with the embedding' ? 15 : 14)
    for (const [model, what] of [[whole, 'whole'], [pieces, 'in pieces']] as const) {
      const got = await model.gradients(BATCH)
      expect(got.loss, what).toBeCloseTo(want.loss, 4)
      expect([...got.gradients.keys()].sort()).toEqual([...want.gradients.keys()].sort())
      // A code of an activation may fall to the other side of a tie: half of a step of one value of 16.
      for (const [name, values] of want.gradients) expectNear(got.gradients.get(name) ?? [], values, key === '8da4w' || key === 'bitnet' || key === 'int4 with the embedding' ? 2e-2 : 5e-4, `${name} ${what}`)
      model.dispose()
    }
  })

  it('of distillation are the same in pieces, and lead to the teacher’s logits', async () => {
    await useBackend('cpu')
    const term = distillation({ temperature: 1.5 })
    const [one, two] = [await open('llama', { backend: tfjsTraining(tf), recipe: intWeights(2) }), await open('llama', { backend: tfjsTraining(tf), recipe: intWeights(2), recompute: 1, logitRows: 4 })]
    const teacher = await open('llama', { backend: tfjsTraining(tf) })
    const [a, b] = [await one.gradients(BATCH, { distil: { teacher, term } }), await two.gradients(BATCH, { distil: { teacher, term } })]
    expect(b.loss).toBeCloseTo(a.loss, 4)
    for (const [name, values] of a.gradients) expectNear(b.gradients.get(name) ?? [], values, 1e-3, name)
    expect(a.loss).toBeGreaterThan((await one.gradients(BATCH)).loss)
    for (const model of [one, two, teacher]) model.dispose()
  })

  it('leaves nothing behind after steps, whole and in pieces', async () => {
    await useBackend('wasm')
    const registered = await registerWasmGradients(tf)
    try {
      for (const options of [{}, { recompute: 1, logitRows: 6 }]) {
        const before = tf.memory().numTensors
        const model = await open('llama', { backend: tfjsTraining(tf), recipe: stabilize(int8DynamicInt4Weights({ group: 8 })), ...options })
        const step = async (): Promise<void> => {
          await model.gradients(BATCH)
          await model.parts.parameters.settle()
          for (const name of model.parts.trained) model.parts.parameters.refresh(name)
          model.step++
        }
        await step()
        await model.loss(BATCH)
        const { numTensors, numBytes } = tf.memory()
        for (let i = 0; i < 12; i++) await step()
        await model.loss(BATCH)
        expect([tf.memory().numTensors, tf.memory().numBytes]).toEqual([numTensors, numBytes])
        model.dispose()
        expect(tf.memory().numTensors).toBe(before)
      }
    } finally {
      registered.restore()
    }
  })

  it('keeps the first layers, and short last groups', async () => {
    const model = await open('llama', { backend: referenceTraining(), recipe: { weights: { scheme: int3({ group: 16 }), algorithm: intWeights(3).weights?.algorithm ?? neverAlgorithm() } }, layers: 1 })
    expect(model.config.layers).toBe(1)
    const scale = model.parts.parameters.get('layers.0.down/weight/log_scale')
    expect(scale.shape).toEqual([16, 2])
    const { gradients } = await model.gradients(BATCH)
    expect(gradients.get(scale.name)?.some((v) => v !== 0)).toBe(true)
  })

  it('starts rounding late', async () => {
    const recipe = { ...intWeights(2), start: 3 }
    const model = await open('llama', { backend: referenceTraining(), recipe })
    const float = await open('llama', { backend: referenceTraining() })
    const without = (await float.gradients(BATCH)).loss
    model.step = 2
    expect((await model.gradients(BATCH)).loss).toBe(without)
    model.step = 3
    expect((await model.gradients(BATCH)).loss).not.toBe(without)
  })

  it('names the first tensor that is not finite', async () => {
    const model = await open('llama', { backend: referenceTraining() })
    const { parameters } = model.parts
    parameters.get('layers.1.up').values[7] = Infinity
    expect(await model.diagnose(BATCH)).toMatchObject({ layer: 'layers.1.up', what: 'weight', index: 7 })
    parameters.get('layers.1.up').values[7] = 1e38
    parameters.refresh('layers.1.up')
    parameters.get('layers.1.mlp.norm').values.fill(1e38)
    parameters.refresh('layers.1.mlp.norm')
    expect(await model.diagnose(BATCH)).toMatchObject({ what: 'output', count: 1 })
    expect((await open('llama', { backend: referenceTraining() }).then((m) => m.diagnose(BATCH)))).toBeUndefined()
  })
})

describe('what cannot be trained', () => {
  it.each([
    ['layers that are not there', { layers: 3 }, 'LOWBIT_ARGUMENT'],
    ['a recipe and an adapter', { recipe: intWeights(4), adapter: { algorithm: neverAdapter() } }, 'LOWBIT_ARGUMENT'],
    ['an override of nothing', { recipe: { overrides: [{ match: 'layers.9.q', weights: null }] } }, 'LOWBIT_NOT_FOUND'],
    ['pieces of nothing', { logitRows: 0 }, 'LOWBIT_ARGUMENT'],
  ])('%s', async (_, options, code) => {
    await expect(open('llama', { backend: referenceTraining(), ...options })).rejects.toMatchObject({ code })
  })

  it('schemes that an estimator refuses stay in float, with the reason', async () => {
    const model = await open('llama', { backend: referenceTraining(), recipe: { weights: { scheme: weightScheme('nf4', { group: 8 }), algorithm: intWeights(4).weights?.algorithm ?? neverAlgorithm() } } })
    expect(model.parts.float.find(({ layer }) => layer === 'layers.0.q')?.reason).toContain('nf4')
  })
})

function neverAlgorithm(): never {
  throw new Error('the preset has no weights')
}

function neverAdapter() {
  return { kind: 'adapter', name: 'none', version: '1.0.0', apiVersion: 2, config: {}, rank: 1, scale: 1, start: () => ({ down: new Float32Array(), up: new Float32Array() }), forward: neverAlgorithm } as const
}

