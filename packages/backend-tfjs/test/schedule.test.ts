import { int4, int8, type TrainingRecipe } from '@lowbit/core'
import { int8PerTensor, int8Static, lsq, lsqPlus, ste } from '@lowbit/algos-qat'
import type { Tensor } from '@tensorflow/tfjs-core'
import type { LayersModel } from '@tensorflow/tfjs-layers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { convert, prepare, registerWasmGradients, type Prepared, type WasmGradients } from '../src/index.js'
import { tf, useBackend } from './load-tf.js'

let registered: WasmGradients
beforeAll(async () => {
  await useBackend('wasm')
  registered = await registerWasmGradients(tf)
})
afterAll(() => registered.restore())

const SHAPE = [6, 6, 2]
function build(): LayersModel {
  return tf.sequential({
    layers: [
      tf.layers.conv2d({ inputShape: SHAPE as [number, number, number], filters: 4, kernelSize: 3, name: 'conv', kernelInitializer: tf.initializers.glorotNormal({ seed: 2 }) }),
      tf.layers.batchNormalization({ name: 'norm', momentum: 0.8 }),
      tf.layers.reLU(),
      tf.layers.flatten(),
      tf.layers.dense({ units: 3, name: 'out', kernelInitializer: tf.initializers.glorotNormal({ seed: 3 }) }),
    ],
  })
}
/** Batches that grow, so that ranges and statistics have something to follow. */
const batch = (step: number): Tensor => tf.tidy(() => tf.mul(tf.randomNormal([8, ...SHAPE], 0.5, 1, 'float32', 10 + step), 1 + step))

async function train(recipe: TrainingRecipe, steps: number, see: (prepared: Prepared, model: LayersModel, step: number) => void): Promise<{ prepared: Prepared; model: LayersModel }> {
  const model = build()
  const prepared = prepare(tf, model, recipe)
  model.compile({ optimizer: tf.train.sgd(1e-3), loss: 'meanSquaredError' })
  for (let step = 0; step < steps; step++) {
    const x = batch(step)
    await model.trainOnBatch(x, tf.zeros([8, 3]))
    x.dispose()
    see(prepared, model, step)
  }
  return { prepared, model }
}

describe('freezeBatchNorm', () => {
  it('moves the statistics with the batches until its step, and then leaves them and computes with them', async () => {
    const means: string[] = []
    const { model } = await train({ weights: { scheme: int8(), algorithm: ste() }, batchNorm: 'batch', freezeBatchNorm: 3 }, 6, (_, m) => means.push(String(m.getLayer('norm').getWeights()[2].dataSync())))
    expect(new Set(means.slice(0, 3)).size).toBe(3)
    expect(new Set(means.slice(2)).size).toBe(1)
    const x = batch(9)
    const [training, inference] = [true, false].map((t) => Array.from((model.apply(x, { training: t }) as Tensor).dataSync()))
    expect(training).toEqual(inference)
  })

  it('without it, training computes with the batch’s own statistics', async () => {
    const { model } = await train({ weights: { scheme: int8(), algorithm: ste() }, batchNorm: 'batch' }, 3, () => undefined)
    const x = batch(9)
    const [training, inference] = [true, false].map((t) => Array.from((model.apply(x, { training: t }) as Tensor).dataSync()))
    expect(training).not.toEqual(inference)
  })
})

describe('freezeObservers', () => {
  const ranges = (prepared: Prepared): string => prepared.sites.map(({ activation }) => (activation === undefined ? '' : `${activation.held.read('low')[0]} ${activation.held.read('high')[0]}`)).join(', ')
  for (const [freezeObservers, distinct] of [[2, 2], [undefined, 5]] as const) {
    it(`${freezeObservers === undefined ? 'absent: ranges follow the batches' : 'leaves ranges alone from its step on'}`, async () => {
      const seen: string[] = []
      await train({ ...int8Static(), ...(freezeObservers === undefined ? {} : { freezeObservers }) }, 5, (prepared) => seen.push(ranges(prepared)))
      expect(new Set(seen).size).toBe(distinct)
    })
  }
})

describe('start', () => {
  it('trains in float until its step while observers watch, and rounds from then on; convert deploys what came of it', async () => {
    const recipe: TrainingRecipe = { weights: { scheme: int4(), algorithm: ste() }, activations: { scheme: int8PerTensor(), algorithm: ste() }, batchNorm: 'keep', start: 3 }
    const x = batch(1)
    const rounded: boolean[] = []
    const { prepared, model } = await train(recipe, 5, (p, m) => {
      const now = Array.from((m.predict(x) as Tensor).dataSync())
      const float = p.inFloat(() => Array.from((m.predict(x) as Tensor).dataSync()))
      rounded.push(now.some((v, i) => v !== float[i]))
    })
    // After the third step the next one is number 3.
    expect(rounded).toEqual([false, false, true, true, true])
    const { sites } = await convert(tf, prepared)
    for (const { activation } of sites) expect(activation?.kind === 'static' && activation.scale > 1e-3).toBe(true)
    model.dispose()
  })

  it.each([['lsq', lsq()], ['lsqPlus', lsqPlus()]] as const)('learned scales start from the weights of the step at which rounding starts: %s', async (_, algorithm) => {
    const START = 40
    const model = tf.sequential({
      layers: [
        tf.layers.dense({ units: 8, inputShape: [16], kernelInitializer: tf.initializers.randomNormal({ stddev: 0.01, seed: 3 }) }),
        tf.layers.dense({ units: 4, kernelInitializer: tf.initializers.randomNormal({ stddev: 0.01, seed: 4 }) }),
      ],
    })
    prepare(tf, model, { weights: { scheme: int4(), algorithm }, start: START })
    model.compile({ optimizer: tf.train.adam(0.05), loss: 'meanSquaredError' })
    const x = tf.randomNormal([64, 16], 0, 1, 'float32', 5)
    const y = tf.matMul(x, tf.randomNormal([16, 4], 0, 3, 'float32', 6)) as Tensor
    const losses: number[] = []
    for (let step = 0; step < START + 3; step++) losses.push(Number(await model.trainOnBatch(x, y)))
    // Four bits of weights that have grown a hundredfold cost some loss, not all that was learned.
    expect(losses[START]).toBeLessThan(3 * losses[START - 1])
    expect(losses[START + 2]).toBeLessThan(losses[0] / 4)
    model.dispose()
  })

  it('scales of activations too, and nothing that was converted before rounding started keeps scales of untrained weights', async () => {
    const recipe: TrainingRecipe = { weights: { scheme: int4(), algorithm: lsq() }, activations: { scheme: int8({ perTensor: true }), algorithm: lsq() }, batchNorm: 'keep', start: 4 }
    const scales: number[] = []
    const { prepared } = await train(recipe, 5, (p, m, step) => {
      if (step === 2) {
        const kernel = m.getLayer('out')
        kernel.setWeights(kernel.getWeights().map((w) => tf.mul(w, 50)))
      }
      scales.push(Math.exp(p.sites[0].activation?.held.read('log_scale')[0] ?? NaN))
    })
    // Batch n is (1 + n) times as wide as the first.
    expect(scales[3] / scales[0]).toBeGreaterThan(2)
    const weight = prepared.fakeWeight('out').data
    const latent = prepared.inFloat(() => Float32Array.from(prepared.sites[1].site.variable.read().dataSync<'float32'>()))
    const largest = (values: Float32Array): number => values.reduce((m, v) => Math.max(m, Math.abs(v)), 0)
    expect(largest(weight)).toBeGreaterThan(largest(latent) / 2)
  })
})
