import { int4, int8, type TrainingRecipe } from '@lowbit/core'
import { int8DynamicInt4Weights, int8Static, intWeights, lowBit, lsq, pact, ste, withDampening } from '@lowbit/algos-qat'
import type { Tensor } from '@tensorflow/tfjs-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { convert, prepare, registerWasmGradients, type WasmGradients } from '../src/index.js'
import { tf, useBackend } from './load-tf.js'

let registered: WasmGradients
beforeAll(async () => {
  await useBackend('wasm')
  registered = await registerWasmGradients(tf)
})
afterAll(() => registered.restore())

/** Every kind of site, and BatchNorm after a convolution without bias. */
function everyLayer() {
  const input = tf.input({ shape: [8, 8, 3] })
  let x = tf.layers.conv2d({ filters: 6, kernelSize: 3, useBias: false, name: 'conv' }).apply(input)
  x = tf.layers.batchNormalization({ name: 'norm', momentum: 0.5 }).apply(x)
  x = tf.layers.reLU().apply(x)
  x = tf.layers.depthwiseConv2d({ kernelSize: 3, padding: 'same', depthMultiplier: 2, name: 'depth' }).apply(x)
  x = tf.layers.separableConv2d({ filters: 5, kernelSize: 3, activation: 'relu', name: 'separable' }).apply(x)
  x = tf.layers.conv2dTranspose({ filters: 4, kernelSize: 2, strides: 2, name: 'up' }).apply(x)
  x = tf.layers.reshape({ targetShape: [64, 4] }).apply(x)
  x = tf.layers.conv1d({ filters: 4, kernelSize: 3, name: 'conv1d' }).apply(x)
  x = tf.layers.flatten().apply(x)
  x = tf.layers.dense({ units: 7, activation: 'relu', name: 'hidden' }).apply(x)
  x = tf.layers.dense({ units: 3, activation: 'softmax', name: 'out' }).apply(x)
  return tf.model({ inputs: input, outputs: x as never })
}

const SITES = ['conv', 'depth', 'separable/depthwise', 'separable/pointwise', 'up', 'conv1d', 'hidden', 'out']

function data(rows = 12): { x: Tensor; y: Tensor } {
  const values = Float32Array.from({ length: rows * 192 }, (_, i) => Math.sin(i * 0.37) + ((i * 7919) % 13) / 13 + (Math.floor(i / 192) % 3) * 0.3)
  return { x: tf.tensor(values, [rows, 8, 8, 3]), y: tf.oneHot(tf.tensor1d(Array.from({ length: rows }, (_, i) => i % 3), 'int32'), 3) }
}

const predict = (model: ReturnType<typeof everyLayer>, x: Tensor): Float32Array => tf.tidy(() => Float32Array.from((model.predict(x) as Tensor).dataSync()))
const distance = (a: Float32Array, b: Float32Array): number => a.reduce((worst, v, i) => Math.max(worst, Math.abs(v - b[i])), 0)

const RECIPES: Record<string, () => TrainingRecipe> = {
  'int8 static': () => int8Static(),
  'int8 static, batch BatchNorm': () => ({ ...int8Static(), batchNorm: 'batch', freezeBatchNorm: 5 }),
  'int4 groups, dynamic int8': () => int8DynamicInt4Weights({ group: 4 }),
  'W4A4 LSQ': () => ({ weights: { scheme: int4(), algorithm: lsq() }, activations: { scheme: { dtype: 'int8', granularity: { kind: 'tensor' }, symmetric: true }, algorithm: lsq() } }),
}

describe('prepare', () => {
  it('finds every kind of site and leaves the function close to float at 8 bits', () => {
    const model = everyLayer()
    const { x } = data()
    const before = predict(model, x)
    const prepared = prepare(tf, model, { weights: { scheme: int8(), algorithm: ste() } })
    expect(prepared.sites.map((s) => s.site.id)).toEqual(SITES)
    const moved = distance(before, predict(model, x))
    expect(moved).toBeGreaterThan(0)
    expect(moved).toBeLessThan(0.02)
    prepared.restore()
    expect(distance(before, predict(model, x))).toBe(0)
    model.dispose()
  })

  for (const [name, recipe] of Object.entries(RECIPES)) {
    it(`trains with fit: ${name}; lower loss, level memory, scales of the model`, async () => {
      const model = everyLayer()
      const prepared = prepare(tf, model, recipe())
      model.compile({ optimizer: tf.train.adam(3e-3), loss: 'categoricalCrossentropy' })
      const { x, y } = data()
      const first = Number((await model.fit(x, y, { epochs: 1, batchSize: 12, shuffle: false, verbose: 0 })).history['loss'][0])
      await model.fit(x, y, { epochs: 3, batchSize: 12, shuffle: false, verbose: 0 })
      const tensors = tf.memory().numTensors
      const { history } = await model.fit(x, y, { epochs: 30, batchSize: 12, shuffle: false, verbose: 0 })
      expect(tf.memory().numTensors).toBe(tensors)
      expect(prepared.step).toBe(34)
      expect(Number(history['loss'].at(-1))).toBeLessThan(first)
      prepared.restore()
      model.dispose()
    })
  }

  it('gives variableGrads gradients for weights and scales', () => {
    const model = everyLayer()
    prepare(tf, model, intWeights(4))
    const { x, y } = data()
    const { grads } = tf.variableGrads(() => tf.losses.softmaxCrossEntropy(y, model.apply(x, { training: true }) as Tensor) as never)
    const scales = Object.keys(grads).filter((n) => n.includes('/lowbit/weight/'))
    expect(scales.length).toBe(SITES.length)
    for (const name of Object.keys(grads)) expect([name, Number.isFinite(tf.sum(tf.abs(grads[name])).dataSync()[0])]).toEqual([name, true])
    expect(scales.some((n) => tf.sum(tf.abs(grads[n])).dataSync()[0] > 0)).toBe(true)
    expect(model.trainableWeights.some((w) => w.originalName.includes('lowbit'))).toBe(true)
    model.dispose()
  })

  it('adds penalties to the loss of fit and of own loops', async () => {
    const recipe = (dampening: number): TrainingRecipe => ({ weights: { scheme: int4(), algorithm: withDampening(ste(), { lambda: { from: dampening, to: dampening, steps: 1 } }) } })
    const losses: number[] = []
    for (const weight of [0, 10]) {
      const model = tf.sequential({ layers: [tf.layers.dense({ units: 2, inputShape: [4], name: 'd', kernelInitializer: tf.initializers.constant({ value: 0.3 }) })] })
      model.layers[0].setWeights([tf.tensor2d([0.11, -0.5, 0.3, 0.27, 0.9, 0.33, -0.71, 0.2], [4, 2]), tf.zeros([2])])
      prepare(tf, model, recipe(weight))
      model.compile({ optimizer: tf.train.sgd(0), loss: 'meanSquaredError' })
      losses.push(Number(await model.trainOnBatch(tf.ones([3, 4]), tf.zeros([3, 2]))))
      model.dispose()
    }
    expect(losses[1]).toBeGreaterThan(losses[0])
  })

  it('follows a model that was compiled before, without disturbing its optimizer', async () => {
    const model = everyLayer()
    model.compile({ optimizer: 'adam', loss: 'categoricalCrossentropy' })
    const { x, y } = data()
    await model.trainOnBatch(x, y)
    const prepared = prepare(tf, model, lowBit(4))
    const loss = Number(await model.trainOnBatch(x, y))
    expect(Number.isFinite(loss)).toBe(true)
    prepared.restore()
    await model.trainOnBatch(x, y)
    model.dispose()
  })

  it('folds BatchNorm by the moving statistics exactly, and with the batch statistics moves them', async () => {
    const build = () => tf.sequential({ layers: [tf.layers.conv2d({ inputShape: [6, 6, 2], filters: 3, kernelSize: 3, kernelInitializer: tf.initializers.randomNormal({ stddev: 0.4, seed: 11 }), name: 'c' }), tf.layers.batchNormalization({ momentum: 0.9, name: 'n' })] })
    const x = tf.tensor(Float32Array.from({ length: 4 * 72 }, (_, i) => Math.sin(i)), [4, 6, 6, 2])
    const model = build()
    model.layers[1].setWeights([tf.tensor1d([0.5, 2, -1]), tf.tensor1d([0.1, 0, 3]), tf.tensor1d([0.3, -0.2, 0]), tf.tensor1d([2, 0.5, 1])])
    const before = tf.tidy(() => Float32Array.from((model.predict(x) as Tensor).dataSync()))
    // 16 bits leave the weights as good as float, so that what remains is the folding.
    const prepared = prepare(tf, model, { weights: { scheme: { dtype: 'int16', granularity: { kind: 'channel', axis: 0 }, symmetric: true }, algorithm: ste() }, batchNorm: 'batch' })
    const after = tf.tidy(() => Float32Array.from((model.predict(x) as Tensor).dataSync()))
    expect(distance(before, after)).toBeLessThan(1e-3)
    const mean = Float32Array.from(model.layers[1].getWeights()[2].dataSync())
    const trained = tf.tidy(() => Float32Array.from((model.apply(x, { training: true }) as Tensor).dataSync()))
    expect(distance(mean, Float32Array.from(model.layers[1].getWeights()[2].dataSync()))).toBeGreaterThan(0)
    // With the batch's statistics each output channel has mean β and deviation |γ|.
    const channel = trained.filter((_, i) => i % 3 === 1)
    const average = channel.reduce((a, b) => a + b, 0) / channel.length
    expect(Math.abs(average)).toBeLessThan(1e-2)
    expect(Math.sqrt(channel.reduce((a, b) => a + (b - average) ** 2, 0) / channel.length)).toBeCloseTo(2, 1)
    prepared.restore()
    model.dispose()
  })

  it('keeps a PACT penalty in own training loops', () => {
    const model = tf.sequential({ layers: [tf.layers.dense({ units: 2, inputShape: [4], name: 'd' })] })
    const prepared = prepare(tf, model, { activations: { scheme: { dtype: 'uint4', granularity: { kind: 'tensor' }, symmetric: true }, algorithm: pact() } })
    const { grads } = tf.variableGrads(() => {
      const y = model.apply(tf.ones([2, 4]), { training: true }) as Tensor
      return tf.add(tf.mean(tf.square(y)), prepared.penalty()) as never
    })
    expect(Object.keys(grads).some((n) => n.includes('alpha'))).toBe(true)
    model.dispose()
  })

  it('refuses a model without sites', () => {
    const model = tf.sequential({ layers: [tf.layers.reLU({ inputShape: [3] })] })
    expect(() => prepare(tf, model, intWeights(4))).toThrow(/LOWBIT_UNSUPPORTED/)
    expect(() => prepare(tf, everyLayer(), { ...intWeights(4), overrides: [{ match: 'nothing', weights: null }] })).toThrow(/LOWBIT_NOT_FOUND.*conv1d/)
  })

  it('names a layer type it does not know, leaves it in float, and trains and converts the rest', async () => {
    class Gain extends tf.layers.Layer {
      static className = 'Gain'
      override build(): void {
        this.addWeight('gain', [4], 'float32', tf.initializers.ones())
        this.built = true
      }
      override call(x: Tensor | Tensor[]): Tensor {
        const [gain] = this.getWeights()
        return tf.mul(Array.isArray(x) ? x[0] : x, gain)
      }
    }
    const model = tf.sequential({ layers: [tf.layers.dense({ units: 4, inputShape: [3], name: 'd' }), new Gain({ name: 'mystery' }), tf.layers.dense({ units: 2, name: 'e' })] })
    const prepared = prepare(tf, model, intWeights(4))
    const float = [{ layer: 'mystery', part: 'weight', reason: 'layer type Gain is not known' }]
    expect(prepared.float).toEqual(float)
    model.compile({ optimizer: tf.train.sgd(1e-2), loss: 'meanSquaredError' })
    await model.trainOnBatch(tf.ones([2, 3]), tf.zeros([2, 2]))
    const converted = await convert(tf, prepared)
    expect(converted.float).toEqual(float)
    expect(converted.sites.map((s) => s.id)).toEqual(['d', 'e'])
    await expect(converted.host.emit('dequantize')).rejects.toThrow(/LOWBIT_UNSUPPORTED: layer 'mystery': type Gain/)
    model.dispose()
  })

  it('names layers that it leaves in float', () => {
    const model = tf.sequential({ layers: [tf.layers.lstm({ units: 3, inputShape: [4, 2], name: 'memory' }), tf.layers.dense({ units: 2, name: 'd' })] })
    const prepared = prepare(tf, model, { ...intWeights(8), overrides: [] })
    expect(prepared.float.map((f) => f.layer)).toContain('memory')
    model.dispose()
  })
})
