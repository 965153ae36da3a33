import { int4, int8, quantize, rtn, type HostTensor, type QuantizeOptions } from '@lowbit/core'
import { awq } from '@lowbit/algos-awq'
import { gptq } from '@lowbit/algos-gptq'
import { smoothQuant } from '@lowbit/algos-smoothquant'
import type { LayersModel, SymbolicTensor } from '@tensorflow/tfjs-layers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openLayersModel, registerWasmGradients, type WasmGradients } from '../src/index.js'
import { tf, useBackend } from './load-tf.js'

let registered: WasmGradients
beforeAll(async () => {
  await useBackend('wasm')
  registered = await registerWasmGradients(tf)
})
afterAll(() => registered.restore())

const next = (x: unknown): SymbolicTensor => x as SymbolicTensor
const normal = (seed: number, stddev = 0.3) => tf.initializers.randomNormal({ stddev, seed })
/** A few channels far above the others, as trained norms have them. */
const uneven = (size: number) => Float32Array.from({ length: size }, (_, i) => (i % 7 === 3 ? 9 : 0.4 + 0.1 * (i % 5)))

/** A convolution with BatchNorm, a block of Dense layers around a LayerNorm. */
function model(): LayersModel {
  const input = tf.input({ shape: [10, 10, 3], name: 'image' })
  let x = next(tf.layers.conv2d({ filters: 16, kernelSize: 3, useBias: false, kernelInitializer: normal(1), name: 'conv' }).apply(input))
  x = next(tf.layers.batchNormalization({ name: 'norm' }).apply(x))
  x = next(tf.layers.reLU({ name: 'relu' }).apply(x))
  x = next(tf.layers.conv2d({ filters: 24, kernelSize: 3, strides: 2, kernelInitializer: normal(2, 0.1), name: 'narrow' }).apply(x))
  x = next(tf.layers.globalAveragePooling2d({ name: 'pool' }).apply(x))
  x = next(tf.layers.layerNormalization({ name: 'layer' }).apply(x))
  const a = next(tf.layers.dense({ units: 32, activation: 'relu', kernelInitializer: normal(3), name: 'left' }).apply(x))
  const b = next(tf.layers.dense({ units: 32, kernelInitializer: normal(4), name: 'right' }).apply(x))
  const sum = next(tf.layers.add({ name: 'sum' }).apply([a, b]))
  const built = tf.model({ inputs: input, outputs: next(tf.layers.dense({ units: 6, kernelInitializer: normal(5), name: 'out' }).apply(sum)) })
  const gains: [string, number][] = [['norm', 16], ['layer', 24]]
  for (const [name, size] of gains) {
    const layer = built.getLayer(name)
    layer.setWeights(layer.getWeights().map((w, i) => (i === 0 ? tf.tensor1d(uneven(size)) : i === 1 ? tf.fill(w.shape, 0.3) : w)))
  }
  return built
}

/** Neighbouring values go together, as in pictures: Gram matrices are far from diagonal. */
const batch = (seed: number, rows = 16): { image: HostTensor } => ({
  image: { dtype: 'float32', shape: [rows, 10, 10, 3], data: Float32Array.from({ length: rows * 300 }, (_, i) => Math.sin(i * 0.021 + Math.floor(i / 300) * 0.83 + seed * 3) + 0.4 * Math.sin(i * 0.9 + seed) * Math.cos(Math.floor(i / 300) * 2.1)) },
})

/** Squared error of the model's outputs on data that calibration did not see. */
async function error(options: Partial<QuantizeOptions>): Promise<{ readonly error: number; readonly folded: readonly string[] }> {
  const own = model()
  const host = await openLayersModel(tf, own)
  const x = batch(9)
  const want = (await host.run(x, { model: 'original' }))['out'].data as Float32Array
  const { report } = await quantize(host, { weights: int4(), calibration: [batch(1), batch(2), batch(3)], format: 'layers', ...options })
  const got = (await host.run(x))['out'].data as Float32Array
  await host.dispose()
  own.dispose()
  return { error: want.reduce((s, v, i) => s + (v - got[i]) ** 2, 0), folded: report.transforms.flatMap((t) => (t.applied.includes('scale folded') ? [t.group] : [])) }
}

describe('post-training algorithms on a LayersModel', () => {
  it('GPTQ beats rounding to nearest, and sequential GPTQ works', async () => {
    const plain = await error({})
    const better = await error({ rounding: gptq() })
    const sequential = await error({ rounding: gptq(), mode: 'sequential' })
    expect(plain.error).toBeGreaterThan(0)
    expect(better.error).toBeLessThan(plain.error)
    expect(sequential.error).toBeLessThan(plain.error)
  })

  it('AWQ folds scales into BatchNorm and LayerNorm and beats rounding to nearest', async () => {
    const plain = await error({ rounding: rtn(), format: 'dequantize' })
    const scaled = await error({ rounding: rtn(), transforms: [awq()], format: 'dequantize' })
    expect(scaled.folded.length).toBeGreaterThan(1)
    expect(scaled.error).toBeLessThan(plain.error)
  })

  it('SmoothQuant changes nothing in float and helps int8 activations per tensor', async () => {
    const activations = { dtype: 'int8', method: 'minmax' } as const
    const options = { weights: int8(), activations, format: 'dequantize' }
    const plain = await error(options)
    const smooth = await error({ ...options, transforms: [smoothQuant({ alpha: 0.5 })] })
    expect(smooth.folded.length).toBeGreaterThan(1)
    expect(smooth.error).toBeLessThan(plain.error)
  })

  it('bias correction takes the mean error out', async () => {
    const plain = await error({})
    const corrected = await error({ biasCorrection: true })
    expect(corrected.error).toBeLessThan(plain.error)
  })
})
