import { int8, quantize, type HostTensor } from '@lowbit/core'
import { int8Static } from '@lowbit/algos-qat'
import * as ort from 'onnxruntime-node'
import type { Sequential, Tensor } from '@tensorflow/tfjs'
import { beforeAll, describe, expect, it } from 'vitest'
import { convert, openLayersModel, prepare } from '../src/index.js'
import { tf, useBackend } from './load-tf.js'

beforeAll(() => useBackend('cpu'))

type Layer = Sequential['layers'][number]

const normal = (seed: number, stddev = 0.3) => tf.initializers.randomNormal({ mean: 0, stddev, seed })
const L = tf.layers

/** Signal over noise, in decibels. */
function sqnr(want: ArrayLike<number>, got: ArrayLike<number>): number {
  let signal = 0
  let noise = 0
  for (let i = 0; i < want.length; i++) {
    signal += want[i] ** 2
    noise += (want[i] - got[i]) ** 2
  }
  return 10 * Math.log10(signal / noise)
}

/** The only output of a file in ONNX Runtime, as a user would run it. */
async function runFile(bytes: Uint8Array, name: string, x: Tensor, options: ort.InferenceSession.SessionOptions = {}): Promise<Float32Array> {
  const session = await ort.InferenceSession.create(bytes, options)
  const out = await session.run({ [name]: new ort.Tensor('float32', Float32Array.from(x.dataSync<'float32'>()), x.shape) })
  const [first] = Object.values(out)
  return first.data as Float32Array
}

const batchOf = (name: string, x: Tensor): Record<string, HostTensor> => ({ [name]: { dtype: 'float32', shape: x.shape, data: Float32Array.from(x.dataSync<'float32'>()) } })

describe('convolutions with a dilation and padding same', () => {
  const image = [9, 8, 3]
  const CASES: Readonly<Record<string, { readonly shape: number[]; readonly layer: () => Layer }>> = {
    'Conv2D, one axis': { shape: image, layer: () => L.conv2d({ inputShape: image, filters: 6, kernelSize: 3, dilationRate: [2, 1], padding: 'same', kernelInitializer: normal(1), biasInitializer: normal(2) }) },
    'Conv2D, both axes, even kernel': { shape: image, layer: () => L.conv2d({ inputShape: image, filters: 5, kernelSize: [2, 4], dilationRate: [3, 1], padding: 'same', kernelInitializer: normal(1) }) },
    'Conv2D, wide': { shape: image, layer: () => L.conv2d({ inputShape: image, filters: 4, kernelSize: 3, dilationRate: 4, padding: 'same', kernelInitializer: normal(1) }) },
    Conv1D: { shape: [11, 3], layer: () => L.conv1d({ inputShape: [11, 3], filters: 4, kernelSize: 4, dilationRate: 3, padding: 'same', kernelInitializer: normal(4), biasInitializer: normal(5) }) },
    SeparableConv2D: { shape: image, layer: () => L.separableConv2d({ inputShape: image, filters: 4, kernelSize: 3, dilationRate: 2, padding: 'same', depthwiseInitializer: normal(6), pointwiseInitializer: normal(7) }) },
  }
  for (const [name, { shape, layer }] of Object.entries(CASES)) {
    it(`${name}: the file runs and computes what the model does`, async () => {
      const model = tf.sequential({ layers: [layer()] })
      const x = tf.randomNormal([4, ...shape], 0, 1, 'float32', 7)
      const host = await openLayersModel(tf, model)
      const { artifact } = await quantize(host, { weights: int8(), format: 'dequantize' })
      const want = (model.predict(x) as Tensor).dataSync<'float32'>()
      expect(sqnr(want, await runFile(artifact.bytes(), host.inputs()[0].name, x))).toBeGreaterThan(35)
      await host.dispose()
      model.dispose()
    })
  }
})

describe('a channel that is switched off, behind 8-bit activations', () => {
  /** Weights of channel 2 are 1e-9 of the others; its bias is 1.5. */
  const dead = (layer: Layer): void => {
    const [kernel, ...others] = layer.getWeights()
    const width = kernel.shape[kernel.shape.length - 1]
    const mask = tf.tensor1d(Array.from({ length: width }, (_, i) => (i === 2 ? 1e-9 : 1)))
    layer.setWeights([tf.mul(kernel, mask), ...others])
  }
  const image = [8, 8, 3]
  const one = tf.initializers.constant({ value: 1.5 })
  const CASES: Readonly<Record<string, { readonly shape: number[]; readonly first: () => Layer }>> = {
    Conv2D: { shape: image, first: () => L.conv2d({ inputShape: image, filters: 6, kernelSize: 3, padding: 'same', kernelInitializer: normal(1), biasInitializer: one }) },
    Dense: { shape: [12], first: () => L.dense({ inputShape: [12], units: 6, kernelInitializer: normal(1), biasInitializer: one }) },
    Conv1D: { shape: [9, 3], first: () => L.conv1d({ inputShape: [9, 3], filters: 6, kernelSize: 3, kernelInitializer: normal(1), biasInitializer: one }) },
  }
  const last = (shape: readonly number[]): Layer =>
    shape.length === 1 ? L.dense({ units: 4, kernelInitializer: normal(2) }) : shape.length === 2 ? L.conv1d({ filters: 4, kernelSize: 1, kernelInitializer: normal(2) }) : L.conv2d({ filters: 4, kernelSize: 1, kernelInitializer: normal(2) })

  for (const [name, { shape, first }] of Object.entries(CASES)) {
    for (const dtype of ['int8', 'uint8'] as const) {
      it(`${name}, ${dtype} after training: the file is what the host computes, with the runtime's optimizations and without`, async () => {
        const model = tf.sequential({ layers: [first(), last(shape)] })
        dead(model.layers[0])
        const x = tf.randomNormal([8, ...shape], 0, 1, 'float32', 7)
        const host = await openLayersModel(tf, model)
        const input = host.inputs()[0].name
        const { artifact, report } = await quantize(host, { weights: int8(), activations: { dtype, method: 'minmax' }, format: 'dequantize', calibration: [batchOf(input, x)] })
        expect(report.warnings.join()).toContain('scales raised so that the bias fits int32')
        const run = Object.values(await host.run(batchOf(input, x)))[0].data as Float32Array
        for (const options of [{}, { graphOptimizationLevel: 'disabled' as const }]) expect(sqnr(run, await runFile(artifact.bytes(), input, x, { ...options, extra: { session: { x64quantprecision: '1' } } }))).toBeGreaterThan(40)
        await host.dispose()
        model.dispose()
      })
    }
  }

  it('prepared and trained, with a norm that switched the channel off: the file is what was trained', async () => {
    const model = tf.sequential({
      layers: [
        L.conv2d({ inputShape: image, filters: 6, kernelSize: 3, padding: 'same', useBias: false, kernelInitializer: normal(1) }),
        L.batchNormalization({ betaInitializer: one }),
        L.reLU(),
        L.conv2d({ filters: 4, kernelSize: 1, kernelInitializer: normal(2), biasInitializer: normal(3) }),
      ],
    })
    const [gamma, ...others] = model.layers[1].getWeights()
    const off = Float32Array.from(gamma.dataSync<'float32'>())
    off[2] = 1e-9
    model.layers[1].setWeights([tf.tensor1d(off), ...others])
    const x = (seed: number): Tensor => tf.randomNormal([4, 8, 8, 3], 0, 1, 'float32', seed)
    const prepared = prepare(tf, model, int8Static())
    model.compile({ optimizer: tf.train.sgd(1e-9), loss: 'meanSquaredError' })
    for (let s = 10; s < 14; s++) await model.trainOnBatch(x(s), tf.zerosLike(model.predict(x(s)) as Tensor))
    const { host } = await convert(tf, prepared)
    const want = Float32Array.from((model.predict(x(7)) as Tensor).dataSync<'float32'>())
    const artifact = await host.emit('dequantize')
    for (const options of [{}, { graphOptimizationLevel: 'disabled' as const }]) {
      expect(sqnr(want, await runFile(artifact.bytes(), host.inputs()[0].name, x(7), { ...options, extra: { session: { x64quantprecision: '1' } } }))).toBeGreaterThan(40)
    }
    prepared.restore()
    model.dispose()
  })
})

describe('prepare, of a model that could not be written in the end', () => {
  const recipe = int8Static()
  const unwritable = () => tf.sequential({ layers: [L.dense({ inputShape: [4, 4, 2], units: 3, name: 'first' }), L.upSampling2d({ size: [2, 2], interpolation: 'bilinear', name: 'grow' }), L.flatten(), L.dense({ units: 2 })] })

  it('refuses before the training, naming the layer, where a format is asked for', () => {
    expect(() => prepare(tf, unwritable(), recipe, { format: 'dequantize' })).toThrow(/LOWBIT_UNSUPPORTED: layer 'grow'/)
    expect(() => prepare(tf, unwritable(), recipe, { format: 'onnx' })).toThrow(/format 'onnx'/)
  })

  it('takes a model that any format takes, and what will never be written', () => {
    for (const options of [{}, { format: 'layers' }, { format: false as const }]) prepare(tf, unwritable(), recipe, options).restore()
  })
})
