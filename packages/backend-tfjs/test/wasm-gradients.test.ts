import type { Tensor } from '@tensorflow/tfjs-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { registerWasmGradients, type WasmGradients } from '../src/index.js'
import { tf, useBackend } from './load-tf.js'

let registered: WasmGradients

beforeAll(async () => {
  await useBackend('wasm')
  registered = await registerWasmGradients(tf)
})
afterAll(() => registered.restore())

/** Uneven values without a pattern that a wrong index could hide. */
function values(shape: number[], seed: number): { shape: number[]; data: Float32Array } {
  let state = seed * 2654435761 + 1
  const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 31 - 1
  })
  return { shape, data }
}

type Inputs = { shape: number[]; data: Float32Array }[]

/** Value and gradients of Σ cos-weighted f on a backend. */
async function evaluate(backend: 'cpu' | 'wasm', f: (...x: Tensor[]) => Tensor, inputs: Inputs): Promise<Float32Array[]> {
  await useBackend(backend)
  const results = tf.tidy(() => {
    const tensors = inputs.map(({ shape, data }) => tf.tensor(data, shape))
    const y = f(...tensors)
    const weights = tf.tensor(Float32Array.from({ length: y.size }, (_, i) => Math.cos(i * 1.7) + 0.1), y.shape)
    return [y, ...tf.grads((...x: Tensor[]) => tf.mul(f(...x), weights))(tensors)].map((t) => t.dataSync() as Float32Array)
  })
  return results
}

async function compare(f: (...x: Tensor[]) => Tensor, shapes: number[][]): Promise<void> {
  const inputs = shapes.map((shape, i) => values(shape, i + 1))
  const want = await evaluate('cpu', f, inputs)
  const got = await evaluate('wasm', f, inputs)
  expect(got.length).toBe(want.length)
  for (const [index, reference] of want.entries()) {
    const scale = reference.reduce((m, v) => Math.max(m, Math.abs(v)), 1e-6)
    expect(got[index].length).toBe(reference.length)
    let worst = 0
    for (let i = 0; i < reference.length; i++) worst = Math.max(worst, Math.abs(got[index][i] - reference[i]) / scale)
    expect(worst, `output ${index}`).toBeLessThan(2e-5)
  }
}

type Pad = 'same' | 'valid'

describe('gradients on the wasm backend agree with the cpu backend', () => {
  for (const [transposeA, transposeB] of [[false, false], [true, false], [false, true], [true, true]]) {
    it(`matMul ${transposeA ? 'Aᵀ' : 'A'} ${transposeB ? 'Bᵀ' : 'B'}, odd sizes, inner dimension over a block`, async () => {
      const [m, k, n] = [13, 523, 21]
      await compare((a, b) => tf.matMul(a, b, transposeA, transposeB), [transposeA ? [k, m] : [m, k], transposeB ? [n, k] : [k, n]])
    })
    it(`stacked matMul ${transposeA ? 'Aᵀ' : 'A'} ${transposeB ? 'Bᵀ' : 'B'}`, async () => {
      const [m, k, n] = [7, 9, 10]
      await compare((a, b) => tf.matMul(a, b, transposeA, transposeB), [transposeA ? [2, 3, k, m] : [2, 3, m, k], transposeB ? [2, 3, n, k] : [2, 3, k, n]])
    })
  }
  it('matMul of one row and one column', () => compare((a, b) => tf.matMul(a, b, false, true), [[1, 300], [1, 300]]))

  for (const pad of ['same', 'valid'] as Pad[]) {
    for (const stride of [1, 2, 3]) {
      for (const channels of [1, 3, 4, 5]) {
        it(`conv2d ${pad}, stride ${stride}, ${channels} channels in`, () =>
          compare((x, w) => tf.conv2d(x as never, w as never, stride, pad), [[2, 9, 8, channels], [3, 2, channels, 5]]))
      }
      it(`depthwiseConv2d ${pad}, stride ${stride}`, () => compare((x, w) => tf.depthwiseConv2d(x as never, w as never, stride, pad), [[2, 9, 8, 5], [3, 2, 5, 1]]))
      it(`conv2dTranspose ${pad}, stride ${stride}`, () => {
        const size = pad === 'same' ? 4 * stride : 3 * stride + 3
        return compare((x, w) => tf.conv2dTranspose(x as never, w as never, [2, size, size, 5], stride, pad), [[2, 4, 4, 6], [3, 3, 5, 6]])
      })
    }
  }
  it('conv2d of few channels, more positions and out channels than are held at a time', () => compare((x, w) => tf.conv2d(x as never, w as never, 1, 'same'), [[3, 12, 11, 2], [3, 3, 2, 261]]))
  it('conv2d 1×1', () => compare((x, w) => tf.conv2d(x as never, w as never, 1, 'same'), [[2, 5, 4, 6], [1, 1, 6, 7]]))
  it('conv2d with explicit, uneven padding', () =>
    compare((x, w) => tf.conv2d(x as never, w as never, 1, [[0, 0], [1, 0], [0, 2], [0, 0]]), [[1, 7, 6, 4], [3, 3, 4, 3]]))
  it('conv1d', () => compare((x, w) => tf.conv1d(x as never, w as never, 2, 'same'), [[2, 11, 4], [3, 4, 6]]))
  it('depthwiseConv2d with a multiplier of 3', () => compare((x, w) => tf.depthwiseConv2d(x as never, w as never, 1, 'same'), [[2, 6, 5, 4], [3, 3, 4, 3]]))
  it('separableConv2d', () => compare((x, d, p) => tf.separableConv2d(x as never, d as never, p as never, 1, 'same'), [[2, 6, 5, 4], [3, 3, 4, 2], [1, 1, 8, 5]]))
  it('gather with repeated rows (embedding)', () => compare((x) => tf.gather(x, tf.tensor([3, 0, 3, 6, 3, 1], [2, 3], 'int32')), [[7, 5]]))
  it('batchNorm, layerNorm, softmax', async () => {
    await compare((x, m, v, o, s) => tf.batchNorm(x, m as never, tf.add(tf.square(v), 0.1) as never, o as never, s as never), [[3, 4, 4, 6], [6], [6], [6], [6]])
    await compare((x) => {
      const centred = tf.sub(x, tf.mean(x, -1, true))
      return tf.div(centred, tf.sqrt(tf.add(tf.mean(tf.square(centred), -1, true), 1e-3)))
    }, [[5, 7, 9]])
    await compare((x) => tf.softmax(x), [[4, 11]])
  })
  it('tile, of axes of size 1 and others', async () => {
    // Weighted by position, so that each repetition counts differently.
    await compare((x) => tf.tile(x, [1, 1, 5]), [[2, 3, 1]])
    await compare((x) => tf.tile(x, [2, 3]), [[4, 5]])
    await compare((x) => tf.tile(x, [3, 1]), [[1, 4]])
    const x = tf.tensor2d([1, 2], [1, 2])
    const dy = tf.tensor2d([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], [2, 6])
    expect([...tf.grad((t: Tensor) => tf.tile(t, [2, 3]))(x, dy).dataSync()]).toEqual([1 + 3 + 5 + 7 + 9 + 11, 2 + 4 + 6 + 8 + 10 + 12])
  })
  it('pooling', async () => {
    for (const channels of [3, 9]) {
      await compare((x) => tf.maxPool(x as never, 2, 2, 'same'), [[2, 7, 6, channels]])
      await compare((x) => tf.maxPool(tf.sub(x, 2) as never, 3, 1, 'same'), [[2, 7, 6, channels]])
    }
    await compare((x) => tf.avgPool(x as never, 3, 2, 'valid'), [[2, 7, 6, 3]])
  })
  it('activations, clipping, maxima', async () => {
    for (const f of [tf.relu, tf.relu6, tf.sigmoid, tf.tanh, tf.elu, tf.selu, tf.softplus, tf.erf, (x: Tensor) => tf.leakyRelu(x, 0.2), (x: Tensor) => tf.clipByValue(x, -0.5, 0.5)]) {
      await compare((x) => f(x), [[3, 37]])
    }
    await compare((a, b) => tf.maximum(a, b), [[5, 23], [5, 23]])
    await compare((a, b) => tf.minimum(a, b), [[5, 23], [5, 23]])
    await compare((a, b) => tf.where(tf.greater(tf.tensor(values([5, 23], 9).data, [5, 23]), 0), tf.mul(a, b), tf.sub(a, b)), [[5, 23], [5, 23]])
  })
})

describe('broadcasting, sums and comparisons keep their meaning', () => {
  const shapes: [number[], number[]][] = [[[4, 5, 6], [6]], [[4, 5, 6], [5, 6]], [[4, 5, 6], [4, 1, 1]], [[4, 5, 6], [4, 5, 1]], [[6], [4, 5, 6]], [[4, 1, 6], [4, 5, 1]], [[1, 5, 6], [4, 1, 6]], [[4, 5, 6], [1, 1, 1]], [[4, 5, 6], []], [[1, 1, 7], [3, 1, 7]], [[1, 1, 7], [7, 1]]]
  for (const [a, b] of shapes) {
    it(`add, sub, mul, div of [${a.join()}] and [${b.join()}]`, async () => {
      await compare((x, y) => tf.add(x, y), [a, b])
      await compare((x, y) => tf.sub(x, y), [a, b])
      await compare((x, y) => tf.mul(x, y), [a, b])
      await compare((x, y) => tf.div(x, tf.add(tf.square(y), 0.5)), [a, b])
    })
  }
  for (const axes of [[0], [1], [2], [0, 1], [1, 2], [0, 2], [0, 1, 2], [-1]]) {
    it(`sum over [${axes.join()}]`, async () => {
      await compare((x) => tf.sum(x, axes), [[5, 6, 19]])
      await compare((x) => tf.sum(x, axes, true), [[5, 6, 19]])
    })
  }
  for (const axes of [[0], [2], [1, 2], [0, 1, 2], [-1]]) {
    it(`max and min over [${axes.join()}]`, async () => {
      for (const keep of [false, true]) {
        for (const width of [3, 19]) {
          await compare((x) => tf.max(x, axes, keep), [[5, 6, width]])
          await compare((x) => tf.min(x, axes, keep), [[5, 6, width]])
        }
      }
    })
  }
  it('minimum and maximum with a scalar on either side, a row, a column', async () => {
    const read = async (backend: 'cpu' | 'wasm'): Promise<number[][]> => {
      await useBackend(backend)
      return tf.tidy(() => {
        const x = tf.tensor(values([7, 13], 3).data, [7, 13])
        const others = [tf.scalar(0.1), tf.tensor(values([13], 4).data), tf.tensor(values([7, 1], 5).data, [7, 1]), tf.tensor(values([7, 13], 6).data, [7, 13])]
        return others.flatMap((y) => [tf.minimum(x, y), tf.maximum(x, y), tf.minimum(y, x), tf.maximum(y, x)].map((t) => [...t.dataSync()]))
      })
    }
    expect(await read('wasm')).toEqual(await read('cpu'))
  })
  it('comparisons with ties, NaN and infinities', async () => {
    const a = [1, 2, 3, NaN, Infinity, -Infinity, 0, -0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2]
    const b = [1, 3, 2, 1, Infinity, 1, -0, 0, NaN, 2, 2, 2, 5, 7, 6, 8, 8, 1, 3]
    const read = async (backend: 'cpu' | 'wasm'): Promise<number[][]> => {
      await useBackend(backend)
      return tf.tidy(() => {
        const [x, y] = [tf.tensor1d(a), tf.tensor1d(b)]
        const all = [tf.greater, tf.greaterEqual, tf.less, tf.lessEqual, tf.equal, tf.notEqual]
        return [...all.map((f) => f(x, y)), ...all.map((f) => f(x, tf.scalar(2))), ...all.map((f) => f(tf.scalar(2), y))].flatMap((m) => [[...m.dataSync()], [...tf.cast(m, 'float32').dataSync()]])
      })
    }
    expect(await read('wasm')).toEqual(await read('cpu'))
  })
})

it('trains a small network without leaking tensors', async () => {
  await useBackend('wasm')
  const model = tf.sequential({ layers: [tf.layers.conv2d({ inputShape: [8, 8, 2], filters: 4, kernelSize: 3, activation: 'relu' }), tf.layers.depthwiseConv2d({ kernelSize: 3 }), tf.layers.flatten(), tf.layers.dense({ units: 3, activation: 'softmax' })] })
  model.compile({ optimizer: 'adam', loss: 'categoricalCrossentropy' })
  const { data } = values([12, 8, 8, 2], 5)
  const x = tf.tensor(data, [12, 8, 8, 2])
  const y = tf.oneHot(tf.tensor1d(Array.from({ length: 12 }, (_, i) => i % 3), 'int32'), 3)
  const first = Number(await model.trainOnBatch(x, y))
  const count = tf.memory().numTensors
  let last = first
  for (let i = 0; i < 60; i++) last = Number(await model.trainOnBatch(x, y))
  expect(tf.memory().numTensors).toBe(count)
  expect(last).toBeLessThan(first * 0.8)
  model.dispose()
})

it('restores the kernels of the backend', async () => {
  await useBackend('wasm')
  registered.restore()
  expect(tf.getKernel('Conv2DBackpropFilter', 'wasm')).toBeUndefined()
  expect(tf.getKernel('BatchMatMul', 'wasm')).toBeDefined()
  registered = await registerWasmGradients(tf)
  expect(tf.getKernel('Conv2DBackpropFilter', 'wasm')).toBeDefined()
})

it('refuses another backend', async () => {
  await useBackend('cpu')
  await expect(registerWasmGradients(tf)).rejects.toThrow(/LOWBIT_RUNTIME.*wasm/)
})
