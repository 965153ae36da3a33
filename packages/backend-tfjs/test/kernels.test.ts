import { dequantize, int4, int8, integerMatmul, productBound, weightScheme, type Batch, type FakeQuantTarget, type SyncKernelProvider, type TrainingRecipe } from '@lowbit/core'
import { bitnetRecipe } from '@lowbit/algos-bitnet'
import { balanced, int8DynamicInt4Weights, int8PerTensor, int8Static, intWeights, lowBit, lsq, ste, ternaryWeights, binaryWeights } from '@lowbit/algos-qat'
import { createWasmKernels } from '@lowbit/kernels-wasm'
import type { Tensor } from '@tensorflow/tfjs-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { convert, onKernels, prepare, registerWasmGradients, type WasmGradients } from '../src/index.js'
import { CodeProduct } from '../src/kernels/code-product.js'
import { tf, useBackend } from './load-tf.js'
import { everyLayer } from './models.js'

let registered: WasmGradients
let kernels: SyncKernelProvider
beforeAll(async () => {
  await useBackend('wasm')
  registered = await registerWasmGradients(tf)
  kernels = await createWasmKernels({ threads: 1 })
})
afterAll(() => {
  kernels.dispose()
  registered.restore()
})

const pixels = Float32Array.from({ length: 6 * 192 }, (_, i) => Math.abs(Math.sin(i * 0.37)) + ((i * 7919) % 13) / 26)
const image: Batch = { image: { dtype: 'float32', shape: [6, 8, 8, 3], data: pixels } }
const largest = (v: ArrayLike<number>): number => Array.from(v).reduce((m, x) => Math.max(m, Math.abs(x)), 0)
const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number => Array.from(a).reduce((worst, v, i) => Math.max(worst, Math.abs(v - b[i])), 0)

async function trained(recipe: TrainingRecipe) {
  const model = everyLayer()
  const prepared = prepare(tf, model, recipe)
  model.compile({ optimizer: tf.train.adam(1e-3), loss: 'meanSquaredError' })
  const x = tf.tensor(pixels, [6, 8, 8, 3])
  for (let i = 0; i < 3; i++) await model.trainOnBatch(x, tf.zeros([6, 3]))
  return { model, prepared, converted: await convert(tf, prepared), x }
}

const STATIC: FakeQuantTarget = { scheme: int8PerTensor(), algorithm: ste() }

const INTEGER: Record<string, () => TrainingRecipe> = {
  'int8 static': () => int8Static(),
  'W4A4': () => ({ ...lowBit(4), overrides: [{ match: 'conv1d', activations: null }, { match: 'depth', activations: { scheme: { dtype: 'int8', granularity: { kind: 'tensor' }, symmetric: false }, algorithm: ste() } }] }),
  'int3 weights, static int8': () => ({ ...int8Static(), weights: { scheme: weightScheme('int3'), algorithm: lsq() } }),
  'int2 balanced weights, static int8': () => ({ ...int8Static(), weights: { scheme: weightScheme('int2'), algorithm: balanced() } }),
  'ternary weights, static int8': () => ({ ...ternaryWeights(), activations: STATIC }),
  'binary weights, static int8': () => ({ ...binaryWeights(), activations: STATIC }),
  'int4 in groups, dynamic int8': () => int8DynamicInt4Weights({ group: 16 }),
  'BitNet': () => bitnetRecipe(),
  'weights alone': () => intWeights(4),
}

describe('onKernels', () => {
  for (const [name, recipe] of Object.entries(INTEGER)) {
    it(`${name}: the converted model on integer kernels is the converted model`, async () => {
      const { model, prepared, converted, x } = await trained(recipe())
      using running = onKernels(tf, prepared, converted, kernels)
      const how = Object.fromEntries(running.layers.map((l) => [l.id, l.how]))
      const staticInputs = name.includes('static')
      if (staticInputs) expect(how).toEqual({ conv: 'integer', depth: 'integer', 'separable/depthwise': 'tfjs', 'separable/pointwise': 'tfjs', up: 'integer', conv1d: 'integer', hidden: 'integer', out: 'integer' })
      else if (name === 'weights alone') expect(new Set(Object.values(how))).toEqual(new Set(['float-activations', 'tfjs']))
      else if (name !== 'W4A4') expect([how['hidden'], how['conv']]).toEqual(['integer', 'float-activations'])
      const tensors = tf.memory().numTensors
      const got = (await running.run(image))['out'].data
      expect(tf.memory().numTensors).toBe(tensors)
      // The host leaves activations with scales found at run time in float; the prepared model rounds them as the kernels do.
      const dynamic = converted.sites.some((s) => s.activation?.kind === 'dynamic')
      const want = dynamic ? tf.tidy(() => Float32Array.from((model.predict(x) as Tensor).dataSync())) : Float32Array.from((await converted.host.run(image))['out'].data as Float32Array)
      // A value on the edge between two activation codes may fall to the other side by another order of sums.
      expect(distance(want, got as Float32Array)).toBeLessThanOrEqual((name === 'weights alone' ? 1e-5 : 0.03) * largest(want))
      prepared.restore()
      model.dispose()
    })
  }

  it('gives each Dense layer of a dynamic recipe its own float32 result within the rounding of the product', async () => {
    const input = tf.input({ shape: [24], name: 'rows' })
    for (const recipe of [int8DynamicInt4Weights({ group: 8 }), bitnetRecipe()]) {
      const model = tf.model({ inputs: input, outputs: tf.layers.dense({ units: 10, name: 'only', kernelInitializer: tf.initializers.glorotNormal({ seed: 4 }) }).apply(input) as never })
      const prepared = prepare(tf, model, recipe)
      const converted = await convert(tf, prepared)
      const data = Float32Array.from({ length: 5 * 24 }, (_, i) => Math.sin(i * 1.3) * (1 + (i % 5)))
      using running = onKernels(tf, prepared, converted, kernels)
      expect(running.layers).toEqual([{ id: 'only', how: 'integer' }])
      const got = (await running.run({ rows: { dtype: 'float32', shape: [5, 24], data } }))['only'].data as Float32Array
      const want = tf.tidy(() => Float32Array.from((model.predict(tf.tensor(data, [5, 24])) as Tensor).dataSync()))
      const weight = converted.sites[0].weight
      if (weight === undefined) throw new Error('no weight')
      const room = productBound(data, dequantize(weight).data, 5, 10, 24)
      want.forEach((w, i) => expect(Math.abs(w - got[i])).toBeLessThanOrEqual(2 * room[i] + 1e-7))
      prepared.restore()
    }
  })

  it('names what stays with tfjs, and why', async () => {
    const { prepared, converted } = await trained({ ...int8Static(), overrides: [{ match: 'hidden', weights: null }] })
    using running = onKernels(tf, prepared, converted, kernels)
    expect(running.layers.filter((l) => l.how === 'tfjs').map((l) => `${l.id}: ${l.reason}`)).toEqual([
      'separable/depthwise: a separable convolution is two products in one call',
      'separable/pointwise: a separable convolution is two products in one call',
      'hidden: its weight is not quantized',
    ])
    prepared.restore()
  })
})

describe('CodeProduct', () => {
  const schemes = [int8(), int4({ group: 8 }), int4({ group: 32 }), weightScheme('uint4', { group: 16, symmetric: false }), weightScheme('int2'), weightScheme('ternary', { perTensor: true }), weightScheme('binary')]
  for (const scheme of schemes) {
    it(`keeps codes from -255 to 255 exact: ${scheme.dtype}, ${scheme.granularity.kind}`, () => {
      const [m, n, k] = [4, 6, 40]
      const [low, high] = { int8: [-128, 127], int4: [-8, 7], uint4: [0, 15], int2: [-2, 1], ternary: [-1, 1], binary: [-1, 1] }[scheme.dtype as 'int4'] ?? [0, 0]
      const span = scheme.dtype === 'binary' ? 2 : high - low + 1
      const all = Array.from({ length: n * k }, (_, i) => (scheme.dtype === 'binary' ? 2 * ((i * 7) % 2) - 1 : low + ((i * 37) % span)))
      const codes = scheme.dtype === 'uint4' ? Uint8Array.from(all) : Int8Array.from(all)
      const g = scheme.granularity
      const shape = g.kind === 'tensor' ? [] : g.kind === 'channel' ? [n] : [n, Math.ceil(k / (g.kind === 'group' ? g.size : k))]
      const count = shape.reduce((a, b) => a * b, 1)
      // Powers of two: scaling rounds nothing, so that the integer sums themselves are compared.
      const scales = Float32Array.from({ length: count }, (_, i) => 2 ** ((i % 3) - 5))
      const weight = { scheme, shape: [n, k], codes, params: { scales, shape, ...(scheme.symmetric ? {} : { zeroPoints: Int32Array.from({ length: count }, (_, i) => i % 16) }) } }
      using product = new CodeProduct(kernels, weight)
      for (const most of [15, 127, 255]) {
        const values = Int32Array.from({ length: m * k }, (_, i) => ((i * 101) % (2 * most + 1)) - most)
        expect(Array.from(product.multiply(values, m))).toEqual(Array.from(integerMatmul({ codes: values, rows: m, scales: [1] }, weight).values))
      }
      expect(() => product.multiply(Int32Array.of(256), 1)).toThrow(/LOWBIT_ARGUMENT/)
    })
  }
})
