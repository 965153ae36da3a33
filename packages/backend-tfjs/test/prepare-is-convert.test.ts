import { dequantize, int8, integerMatmul, productBound, roundHalfEven, weightScheme, type QTensor, type Scheme, type TrainingAlgorithm, type TrainingRecipe } from '@lowbit/core'
import { int8Static, lsq, ste } from '@lowbit/algos-qat'
import type { Tensor } from '@tensorflow/tfjs-core'
import type { LayersModel, SymbolicTensor } from '@tensorflow/tfjs-layers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { convert, findSites, inputColumns, prepare, registerWasmGradients, type WasmGradients } from '../src/index.js'
import { tf, useBackend } from './load-tf.js'
import { tokens } from './models.js'

let registered: WasmGradients
beforeAll(async () => {
  await useBackend('wasm')
  registered = await registerWasmGradients(tf)
})
afterAll(() => registered.restore())

const next = (x: unknown): SymbolicTensor => x as SymbolicTensor
const normal = (seed: number) => tf.initializers.randomNormal({ stddev: 0.4, seed })
/** A kernel through which values pass as they are. */
const identity = (model: LayersModel, index: 0 | 1): void => {
  const target = model.getLayer('at')
  target.setWeights(target.getWeights().map((w, i) => (i !== index ? w : index === 0 ? tf.onesLike(w) : tf.reshape(tf.eye(w.shape.at(-1) ?? 1), w.shape))))
}

interface Case {
  readonly site: string
  readonly input: readonly number[]
  build(input: SymbolicTensor): SymbolicTensor
  /** Makes the other half of a separable layer an identity. */
  arrange?(model: LayersModel): void
  readonly overrides?: TrainingRecipe['overrides']
}

const common = { kernelInitializer: normal(3), biasInitializer: normal(5) }
const CASES: Record<string, Case> = {
  'Dense': { site: 'at', input: [5, 20], build: (x) => next(tf.layers.dense({ ...common, units: 7, name: 'at' }).apply(x)) },
  'Conv1D': { site: 'at', input: [9, 5], build: (x) => next(tf.layers.conv1d({ ...common, filters: 6, kernelSize: 3, padding: 'same', strides: 2, name: 'at' }).apply(x)) },
  'Conv2D': { site: 'at', input: [7, 6, 3], build: (x) => next(tf.layers.conv2d({ ...common, filters: 5, kernelSize: [3, 2], padding: 'same', strides: 2, name: 'at' }).apply(x)) },
  'Conv2D with BatchNorm': {
    site: 'at',
    input: [7, 6, 3],
    build: (x) => next(tf.layers.batchNormalization({ name: 'norm', gammaInitializer: normal(8), betaInitializer: normal(9), movingMeanInitializer: normal(10) }).apply(tf.layers.conv2d({ ...common, filters: 5, kernelSize: 3, name: 'at' }).apply(x))),
  },
  'DepthwiseConv2D': { site: 'at', input: [7, 6, 4], build: (x) => next(tf.layers.depthwiseConv2d({ depthwiseInitializer: normal(4), biasInitializer: normal(5), kernelSize: 3, depthMultiplier: 2, padding: 'same', name: 'at' }).apply(x)) },
  'SeparableConv2D, depthwise': {
    site: 'at/depthwise',
    input: [7, 6, 4],
    build: (x) => next(tf.layers.separableConv2d({ depthwiseInitializer: normal(4), filters: 8, depthMultiplier: 2, kernelSize: 3, useBias: false, name: 'at' }).apply(x)),
    arrange: (model) => identity(model, 1),
    overrides: [{ match: 'at/pointwise', weights: null, activations: null }],
  },
  'SeparableConv2D, pointwise': {
    site: 'at/pointwise',
    input: [7, 6, 4],
    build: (x) => next(tf.layers.separableConv2d({ pointwiseInitializer: normal(4), filters: 6, kernelSize: 1, biasInitializer: normal(5), name: 'at' }).apply(x)),
    arrange: (model) => identity(model, 0),
    overrides: [{ match: 'at/depthwise', weights: null, activations: null }],
  },
  'Conv2DTranspose': { site: 'at', input: [4, 5, 3], build: (x) => next(tf.layers.conv2dTranspose({ ...common, filters: 5, kernelSize: 3, strides: 2, padding: 'same', name: 'at' }).apply(x)) },
}

/** A code 0 has no sign; the product with a reciprocal may leave one. */
const unsigned = (values: ArrayLike<number>): number[] => Array.from(values, (v) => v + 0)

/** Rows of one convolution group. */
function part(q: QTensor, g: number, per: number): QTensor {
  const [n, k] = q.shape
  const each = q.params.scales.length / n
  return { ...q, shape: [per, k], codes: q.codes.slice(g * per * k, (g + 1) * per * k), params: { scales: q.params.scales.slice(g * per * each, (g + 1) * per * each), shape: [per, ...q.params.shape.slice(1)] } }
}

const WEIGHTS: Record<string, { readonly algorithm: () => TrainingAlgorithm; readonly options: Parameters<typeof weightScheme>[1] }> = {
  'STE per channel': { algorithm: () => ste(), options: {} },
  'LSQ in groups of 8': { algorithm: () => lsq(), options: { group: 8 } },
}

describe('prepare = convert', () => {
  for (const [name, test] of Object.entries(CASES)) {
    for (const [weightName, { algorithm, options }] of Object.entries(WEIGHTS)) {
      it(`${name}, ${weightName}: equal codes, and outputs within the rounding of the product, at 8, 4, 3 and 2 bits`, async () => {
        for (const bits of ['int8', 'int4', 'int3', 'int2'] as const) {
          const scheme: Scheme = weightScheme(bits, options)
          const input = tf.input({ shape: [...test.input], name: 'x' })
          const model = tf.model({ inputs: input, outputs: test.build(input) })
          test.arrange?.(model)
          const prepared = prepare(tf, model, { ...int8Static(), weights: { scheme, algorithm: algorithm() }, ...(test.overrides === undefined ? {} : { overrides: test.overrides }) })
          const size = test.input.reduce((a, b) => a * b, 3)
          const x = tf.tensor(Float32Array.from({ length: size }, (_, i) => Math.sin(i * 0.91) + ((i * 7919) % 13) / 13 - 0.3), [3, ...test.input])
          // Observes the range, and moves the weights off what they were initialized to.
          model.compile({ optimizer: tf.train.sgd(1e-2), loss: 'meanSquaredError' })
          for (let step = 0; step < 3; step++) await model.trainOnBatch(x, tf.zerosLike(model.predict(x) as Tensor))
          test.arrange?.(model)

          const { sites } = await convert(tf, prepared)
          const { weight, activation } = sites.find((s) => s.id === test.site) ?? {}
          const site = findSites(model).sites.find((s) => s.id === test.site)
          if (weight === undefined || site === undefined || activation?.kind !== 'static') throw new Error(`${test.site} stayed in float`)
          expect([bits, unsigned(dequantize(weight).data)]).toEqual([bits, unsigned(prepared.fakeWeight(test.site).data)])

          const output = (model.predict(x) as Tensor).dataSync()
          const columns = inputColumns(tf, site, x)
          const inverse = Math.fround(1 / activation.scale)
          // Padding is the real value 0, whose code is the zero point.
          const codes = Array.from(columns.dataSync(), (v) => Math.min(127, Math.max(-128, roundHalfEven(Math.fround(v * inverse)) + activation.zeroPoint)))
          const [rows, wide] = columns.shape
          const bias = test.site === 'at/depthwise' ? null : prepared.bias(test.site)
          const per = site.rows / site.groups
          let outside = 0
          for (let g = 0; g < site.groups; g++) {
            const own = codes.filter((_, i) => Math.floor((i % wide) / site.columns) === g)
            const q = part(weight, g, per)
            const product = integerMatmul({ codes: own, rows, scales: [activation.scale], zeroPoints: [activation.zeroPoint] }, q)
            const bound = productBound(own.map((c) => (c - activation.zeroPoint) * activation.scale), dequantize(q).data, rows, per, site.columns)
            for (let r = 0; r < rows; r++) {
              for (let n = 0; n < per; n++) {
                const b = bias?.[g * per + n] ?? 0
                const got = output[r * site.rows + g * per + n]
                // The bias is added in float32 on both sides.
                if (Math.abs(product.values[r * per + n] + b - got) > bound[r * per + n] + 2 ** -23 * (Math.abs(b) + Math.abs(got))) outside++
              }
            }
          }
          expect(output.length).toBe(rows * site.rows)
          expect([bits, outside]).toEqual([bits, 0])
          prepared.restore()
          model.dispose()
        }
      })
    }
  }

  it('Embedding: the rows that are looked up are the rows that are stored, at 8, 4, 3 and 2 bits', async () => {
    for (const bits of ['int8', 'int4', 'int3', 'int2'] as const) {
      for (const { algorithm, options } of Object.values(WEIGHTS)) {
        const model = tokens()
        const prepared = prepare(tf, model, { weights: { scheme: weightScheme(bits, options), algorithm: algorithm() }, activations: { scheme: { ...int8(), granularity: { kind: 'tensor' }, symmetric: false }, algorithm: ste() } })
        const ids = tf.tensor2d([0, 3, 11, 7, 7, 1], [1, 6], 'int32')
        tf.tidy(() => void model.apply(ids, { training: true }))
        const { sites } = await convert(tf, prepared)
        const table = sites.find((s) => s.id === 'table')?.weight
        if (table === undefined) throw new Error('the embedding stayed in float')
        const values = dequantize(table).data
        const rows = (model.getLayer('table').apply(ids) as Tensor).dataSync()
        expect([bits, unsigned(rows)]).toEqual([bits, [0, 3, 11, 7, 7, 1].flatMap((id) => unsigned(values.subarray(id * 16, (id + 1) * 16)))])
        prepared.restore()
        model.dispose()
      }
    }
  })
})
