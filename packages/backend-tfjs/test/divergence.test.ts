import { int4 } from '@lowbit/core'
import { lsq } from '@lowbit/algos-qat'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { prepare, registerWasmGradients, stopOnDivergence, type WasmGradients } from '../src/index.js'
import { tf, useBackend } from './load-tf.js'

let registered: WasmGradients
beforeAll(async () => {
  await useBackend('wasm')
  registered = await registerWasmGradients(tf)
})
afterAll(() => registered.restore())

describe('stopOnDivergence', () => {
  const build = () => {
    const model = tf.sequential({ layers: [tf.layers.dense({ units: 6, inputShape: [4], activation: 'relu', name: 'first' }), tf.layers.dense({ units: 2, name: 'second' })] })
    const prepared = prepare(tf, model, { weights: { scheme: int4(), algorithm: lsq() } })
    return { model, prepared }
  }

  it('names step, layer and tensor, and puts the last good weights back', async () => {
    const { model, prepared } = build()
    model.compile({ optimizer: tf.train.sgd(0.01), loss: 'meanSquaredError' })
    // One target is not a number: the fourth batch poisons every weight.
    const x = tf.randomNormal([40, 4], 0, 1, 'float32', 3)
    const y = tf.tidy(() => tf.concat([tf.ones([30, 2]), tf.fill([10, 2], NaN)]))
    const guard = stopOnDivergence(tf, prepared)
    await expect(model.fit(x, y, { batchSize: 10, epochs: 1, shuffle: false, verbose: 0, callbacks: guard })).rejects.toThrow(/LOWBIT_NONFINITE: training step 3: loss NaN; first in the variable '.*' of layer 'first'/)
    for (const weight of model.getWeights()) expect(weight.dataSync().every((v) => Number.isFinite(v))).toBe(true)
    tf.dispose([x, y])
  })

  it('keeps quiet, and keeps no tensors, while the loss is finite', async () => {
    const { model, prepared } = build()
    model.compile({ optimizer: tf.train.sgd(0.01), loss: 'meanSquaredError' })
    const [x, y] = [tf.randomNormal([8, 4], 0, 1, 'float32', 3), tf.ones([8, 2])]
    const guard = stopOnDivergence(tf, prepared)
    await model.fit(x, y, { epochs: 1, verbose: 0, callbacks: guard })
    guard.dispose()
    const level = tf.memory().numTensors
    await model.fit(x, y, { epochs: 5, verbose: 0, callbacks: guard })
    guard.dispose()
    expect(tf.memory().numTensors).toBe(level)
    tf.dispose([x, y])
  })
})
