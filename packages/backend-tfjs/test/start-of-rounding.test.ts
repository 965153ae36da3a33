import { binaryConnect, balanced, dorefa, intWeights, lowBit, lsq, lsqPlus, pact, stabilize, ste, ternary, ttq, unsignedPerTensor, withDampening, withOscillation, xnor } from '@lowbit/algos-qat'
import { int4, type Scheme, type TrainingAlgorithm, type TrainingRecipe, weightScheme } from '@lowbit/core'
import type { LayersModel } from '@tensorflow/tfjs-layers'
import { beforeAll, expect, it } from 'vitest'
import { prepare, type Prepared } from '../src/index.js'
import { tf, useBackend } from './load-tf.js'

beforeAll(() => useBackend('cpu'))

const whole = (dtype: 'int4' | 'int2' | 'binary' | 'ternary'): Scheme => ({ ...weightScheme(dtype), granularity: { kind: 'tensor' } })
const weights = (scheme: Scheme, algorithm: TrainingAlgorithm): TrainingRecipe => ({ weights: { scheme, algorithm } })
const RECIPES: Readonly<Record<string, TrainingRecipe>> = {
  'ste': weights(int4(), ste()),
  'ste in groups, asymmetric': weights({ ...int4({ group: 4 }), symmetric: false }, ste()),
  'lsq': weights(int4(), lsq()),
  'lsq in groups': weights(int4({ group: 4 }), lsq()),
  'lsq, start of the paper': weights(int4(), lsq({ start: 'paper' })),
  'lsq of weights and activations': lowBit(4),
  'lsqPlus': weights(int4(), lsqPlus()),
  'pact of activations': { ...intWeights(4), activations: { scheme: unsignedPerTensor(8), algorithm: pact() } },
  'dorefa': weights(whole('int4'), dorefa()),
  'balanced': weights(weightScheme('int2'), balanced()),
  'ternary': weights(weightScheme('ternary'), ternary()),
  'ttq': weights(whole('ternary'), ttq()),
  'xnor': weights(weightScheme('binary'), xnor()),
  'binaryConnect': weights(whole('binary'), binaryConnect()),
  'lsq, dampened': weights(int4(), withDampening(lsq())),
  'lsq, oscillations frozen': weights(int4(), withOscillation(lsq())),
  'lsq, stabilized': stabilize(weights(int4(), lsq())),
}

function build(): LayersModel {
  const seeded = (seed: number) => tf.initializers.randomNormal({ stddev: 0.05, seed })
  return tf.sequential({ layers: [tf.layers.dense({ units: 8, activation: 'relu', inputShape: [16], kernelInitializer: seeded(1) }), tf.layers.dense({ units: 4, kernelInitializer: seeded(2) })] })
}

/** Distance of what computes from what is trained, a site. */
const errors = (prepared: Prepared): readonly number[] =>
  prepared.sites.map(({ site }) => {
    const [rows, columns] = prepared.fakeWeight(site.id).shape
    const latent = site.variable.read().dataSync<'float32'>()
    // Kernels lie [K, N], what computes [N, K].
    return Math.sqrt(prepared.fakeWeight(site.id).data.reduce((sum, v, i) => sum + (v - latent[(i % columns) * rows + Math.floor(i / columns)]) ** 2, 0))
  })

const START = 6

it.each(Object.entries(RECIPES))('%s: rounds at its step as if it had been prepared with the weights of that step', async (_, recipe) => {
  const x = tf.randomNormal([32, 16], 0, 1, 'float32', 3)
  const y = tf.randomNormal([32, 4], 0, 1, 'float32', 4)
  const compiled = (model: LayersModel): LayersModel => (model.compile({ optimizer: tf.train.sgd(1e-6), loss: 'meanSquaredError' }), model)
  const model = build()
  const prepared = prepare(tf, model, { ...recipe, start: START })
  compiled(model)
  for (let step = 0; step < START; step++) {
    // What training does to weights in a thousand steps.
    if (step === START - 2) for (const layer of model.layers) layer.setWeights(layer.getWeights().map((w, i) => (i < 2 ? tf.mul(w, 30) : w)))
    await model.trainOnBatch(x, y)
  }
  const fresh = build()
  for (const [i, layer] of fresh.layers.entries()) layer.setWeights(model.layers[i].getWeights().slice(0, 2))
  const other = prepare(tf, fresh, recipe)
  compiled(fresh)
  const late = Number(await model.trainOnBatch(x, y))
  const atOnce = Number(await fresh.trainOnBatch(x, y))
  expect(late).toBeLessThan(1.3 * atOnce)
  for (const [i, error] of errors(prepared).entries()) expect(error, prepared.sites[i].site.id).toBeLessThan(1.2 * errors(other)[i])
  for (const m of [model, fresh]) m.dispose()
})
