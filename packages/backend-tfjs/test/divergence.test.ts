import { int4 } from '@lowbit/core'
import { int8Static, lsq } from '@lowbit/algos-qat'
import type { Tensor } from '@tensorflow/tfjs-core'
import type { CustomCallbackArgs } from '@tensorflow/tfjs-layers'
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
    const model = tf.sequential({ layers: [tf.layers.dense({ units: 6, inputShape: [4], activation: 'tanh', name: 'first' }), tf.layers.dense({ units: 2, name: 'second' })] })
    const prepared = prepare(tf, model, { weights: { scheme: int4(), algorithm: lsq() } })
    return { model, prepared }
  }

  /** The inputs of the last batches, and their targets, as given. */
  const fitUntil = async (badInput: number, badTarget: number) => {
    const { model, prepared } = build()
    model.compile({ optimizer: tf.train.sgd(0.01), loss: 'meanSquaredError' })
    const x = tf.tidy(() => tf.concat([tf.randomNormal([30, 4], 0, 1, 'float32', 3), tf.fill([10, 4], badInput)]))
    const y = tf.tidy(() => tf.concat([tf.ones([30, 2]), tf.fill([10, 2], badTarget)]))
    const guard = stopOnDivergence(tf, prepared)
    const fitting = model.fit(x, y, { batchSize: 10, epochs: 1, shuffle: false, verbose: 0, callbacks: guard })
    await fitting.finally(() => tf.dispose([x, y])).catch(() => undefined)
    for (const weight of model.getWeights()) expect(weight.dataSync().every((v) => Number.isFinite(v))).toBe(true)
    return fitting
  }

  it('names step, layer and first bad tensor of fit, and puts the last good weights back', async () => {
    // What follows is bad too, and so is every weight after the step.
    await expect(fitUntil(Infinity, 1)).rejects.toThrow(/LOWBIT_NONFINITE: training step 3: loss NaN; first in the sum of the input of layer 'first'/)
  })

  it('does not blame a layer for bad targets', async () => {
    await expect(fitUntil(1, NaN)).rejects.toThrow(/LOWBIT_NONFINITE: training step 3: loss NaN; no tensor that was watched is bad/)
  })

  it('names the overflow of a layer in an own loop', () => {
    const { model, prepared } = build()
    const [kernel, bias, ...others] = model.layers[1].getWeights()
    model.layers[1].setWeights([kernel, tf.fill(bias.shape, 3e38), ...others])
    const guard = stopOnDivergence(tf, prepared)
    guard.onBatchBegin()
    const loss = tf.tidy(() => tf.mean(tf.square(model.apply(tf.ones([2, 4]), { training: true }) as Tensor)).dataSync()[0])
    expect(() => guard.check(loss)).toThrow(/step 0: loss (NaN|Infinity); first in the sum of the output of layer 'second'/)
    expect(() => guard.check(0.5)).not.toThrow()
    prepared.restore()
  })

  it('keeps no sums while nobody looks', () => {
    const { model, prepared } = build()
    model.apply(tf.ones([2, 4]), { training: true })
    expect([...prepared.watched()]).toEqual([])
    const stop = prepared.watch()
    tf.tidy(() => void model.apply(tf.ones([2, 4]), { training: true }))
    expect([...prepared.watched()].map(({ layer, what }) => `${layer}: ${what}`)).toEqual(['first', 'second'].flatMap((l) => ['input', 'weight', 'fake-quantized weight', 'output'].map((t) => `${l}: sum of the ${t}`)))
    stop()
    expect([...prepared.watched()]).toEqual([])
  })

  describe.each([['wasm'], ['cpu']] as const)('on %s, behind a softmax that loses NaN', (backend) => {
    beforeAll(() => useBackend(backend))
    afterAll(() => useBackend('wasm'))

    const features = () => tf.randomNormal([32, 16], 0, 1, 'float32', 5)
    const CASES: readonly (readonly [string, () => Tensor, number])[] = [
      ['inputs that are NaN', () => tf.fill([32, 16], NaN), 0.01],
      ['inputs that are infinite', () => tf.fill([32, 16], Infinity), 0.01],
      ['one bad row', () => tf.concat([tf.fill([1, 16], NaN), features().slice([1, 0], [31, 16])]), 0.01],
      ['a rate of 1e30', features, 1e30],
      ['a rate of 1e38', features, 1e38],
    ]
    for (const [what, make, rate] of CASES) {
      // Alone, and in a list behind and before tfjs's own: `fit` takes the three in different ways.
      for (const place of ['alone', 'first', 'last'] as const) {
        it(`stops at ${what}, given ${place}, with the weights it had before`, async () => {
          const model = tf.sequential({ layers: [tf.layers.dense({ inputShape: [16], units: 32, activation: 'relu' }), tf.layers.dense({ units: 10, activation: 'softmax' })] })
          const prepared = prepare(tf, model, int8Static())
          model.compile({ optimizer: tf.train.sgd(rate), loss: 'categoricalCrossentropy' })
          const x = make()
          const y = tf.oneHot(tf.tensor1d(Array.from({ length: 32 }, (_, i) => i % 10), 'int32'), 10)
          const guard = stopOnDivergence(tf, prepared)
          const stop = tf.callbacks.earlyStopping({ monitor: 'loss', patience: 99 })
          const callbacks = place === 'alone' ? guard : place === 'first' ? [guard, stop] : [stop, guard]
          await expect(model.fit(x, y, { epochs: 4, batchSize: 8, verbose: 0, shuffle: false, callbacks: callbacks as CustomCallbackArgs })).rejects.toMatchObject({ code: 'LOWBIT_NONFINITE' })
          for (const weight of model.getWeights()) expect(weight.dataSync().every((v) => Number.isFinite(v))).toBe(true)
          prepared.restore()
          model.dispose()
          tf.dispose([x, y])
        })
      }
    }
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
