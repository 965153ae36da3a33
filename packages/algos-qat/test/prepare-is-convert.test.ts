import { describe, expect, it } from 'vitest'
import { convertWeight, dequantize, holdVariables, integerMatmul, planTraining, productBound, referenceOps, weightScheme, type QTensor, type ReferenceTensor, type TrainingAlgorithm, type TrainingLayer, type TrainingRecipe } from '@lowbit/core'
import { balanced, int8PerTensor, int8PerToken, lsq, ste, unsignedPerTensor } from '../src/index.js'

const backend = referenceOps()
const { ops } = backend
type T = ReferenceTensor

function noise(count: number, seed: number, size: number): Float32Array {
  let state = seed
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return size * (state / 2 ** 31 - 1)
  })
}

/** A layer as rows of inputs times a matrix: convolutions by their patches. */
interface LayerUnderTest {
  readonly layer: TrainingLayer
  readonly x: T
  /** Rows `[M, K]` that the matrix of each group of outputs multiplies, from the layer's input or from its codes. */
  patches(x: ArrayLike<number>, outside: number): { readonly rows: number; readonly data: Float32Array }[]
  /** Rows of the `[N, K]` weight that the i-th patches meet. */
  outputs(i: number): readonly [from: number, to: number]
}

const dense: LayerUnderTest = {
  layer: { id: 'dense', kind: 'linear', op: 'Dense', rows: 5, columns: 44, orientation: 'KN', input: [null, 44] },
  x: ops.constant(noise(3 * 44, 1, 2), [3, 44]),
  patches: (x) => [{ rows: 3, data: Float32Array.from(x) }],
  outputs: () => [0, 5],
}

const [HEIGHT, WIDTH, CHANNELS] = [5, 4, 3]

/** 3×3 patches of an image, zero outside, in the order of an HWI kernel. */
function imagePatches(x: ArrayLike<number>, channels: readonly number[], outside: number): Float32Array {
  const out: number[] = []
  for (let i = 0; i < HEIGHT; i++) {
    for (let j = 0; j < WIDTH; j++) {
      for (let di = -1; di <= 1; di++) {
        for (let dj = -1; dj <= 1; dj++) {
          const inside = i + di >= 0 && i + di < HEIGHT && j + dj >= 0 && j + dj < WIDTH
          for (const c of channels) out.push(inside ? x[((i + di) * WIDTH + j + dj) * CHANNELS + c] : outside)
        }
      }
    }
  }
  return Float32Array.from(out)
}

const image = ops.constant(noise(HEIGHT * WIDTH * CHANNELS, 2, 1.5), [1, HEIGHT, WIDTH, CHANNELS])
const conv: LayerUnderTest = {
  layer: { id: 'conv', kind: 'conv', op: 'Conv2D', rows: 6, columns: 9 * CHANNELS, orientation: 'KN', input: [null, HEIGHT, WIDTH, CHANNELS] },
  x: image,
  patches: (x, outside) => [{ rows: HEIGHT * WIDTH, data: imagePatches(x, [0, 1, 2], outside) }],
  outputs: () => [0, 6],
}
const depthwise: LayerUnderTest = {
  layer: { id: 'depthwise', kind: 'depthwise', op: 'DepthwiseConv2D', rows: CHANNELS, columns: 9, orientation: 'KN', input: [null, HEIGHT, WIDTH, CHANNELS] },
  x: image,
  patches: (x, outside) => [0, 1, 2].map((c) => ({ rows: HEIGHT * WIDTH, data: imagePatches(x, [c], outside) })),
  outputs: (i) => [i, i + 1],
}

const bits = [8, 4, 3, 2] as const
const weightKinds: readonly [string, TrainingAlgorithm, (dtype: `int${(typeof bits)[number]}`) => QTensor['scheme']][] = [
  ['ste per channel', ste(), (dtype) => weightScheme(dtype)],
  ['lsq per channel', lsq(), (dtype) => weightScheme(dtype)],
  ['ste in groups of 8', ste(), (dtype) => weightScheme(dtype, { group: 8 })],
  ['balanced per channel', balanced(), (dtype) => weightScheme(dtype)],
]
const activationKinds = [
  ['int8 static', { scheme: int8PerTensor(), algorithm: ste() }],
  ['int8 per token', { scheme: int8PerToken(), algorithm: ste() }],
  ['int4 learned', { scheme: { ...unsignedPerTensor(4), dtype: 'int4' }, algorithm: lsq() }],
] as const

function rowsOf(q: QTensor, [from, to]: readonly [number, number]): QTensor {
  const k = q.shape[1]
  const per = q.params.scales.length / q.shape[0]
  const { zeroPoints } = q.params
  return {
    scheme: q.scheme, shape: [to - from, k], codes: q.codes.slice(from * k, to * k),
    params: { scales: q.params.scales.slice(from * per, to * per), ...(zeroPoints === undefined ? {} : { zeroPoints: zeroPoints.slice(from * per, to * per) }), shape: per === 1 ? [to - from] : [to - from, per] },
  }
}

async function compare(test: LayerUnderTest, recipe: TrainingRecipe): Promise<{ readonly outputs: number; readonly beyond: number }> {
  const { layer, x } = test
  const [planned] = planTraining([layer], recipe).layers
  if (planned.weight === undefined || planned.activation === undefined) throw new Error('the layer was left in float')
  const { columns: k, rows: n } = layer
  const latent = noise(k * n, 7, 0.2)
  const w = ops.constant(latent, [k, n])
  const weightVariables = holdVariables(ops, planned.weight.fakeQuant, latent)
  const inputVariables = holdVariables(ops, planned.activation.fakeQuant)
  planned.activation.fakeQuant.forward(ops, x, inputVariables.state(0, true))

  // Prepared: float32 product of fake-quantized operands.
  const input = planned.activation.fakeQuant.forward(ops, x, inputVariables.state(1, false))
  const weight = planned.weight.fakeQuant.forward(ops, w, weightVariables.state(1, false))
  // Converted: codes.
  const q = await convertWeight(backend, planned.weight.fakeQuant, w, weightVariables.state(1, false), layer.orientation)
  expect(Array.from(dequantize(q).data)).toEqual(Array.from(ops.transpose(weight).data))
  const rounded = planned.activation.fakeQuant.quantize(ops, x, inputVariables.state(1, false))
  const zeroPoint = rounded.zeroPoints?.data ?? Float32Array.of(0)

  let outputs = 0
  let beyond = 0
  test.patches(input.data, 0).forEach((floats, i) => {
    const [from, to] = test.outputs(i)
    const part = rowsOf(q, [from, to])
    const columns = dequantize(part).data
    const prepared = ops.matmul(ops.constant(floats.data, [floats.rows, k]), ops.constant(columns, [to - from, k]), false, true).data
    const codes = test.patches(rounded.codes.data, zeroPoint[0])[i]
    const { values } = integerMatmul({ codes: codes.data, rows: codes.rows, scales: rounded.scales.data, zeroPoints: zeroPoint }, part)
    const bound = productBound(floats.data, columns, floats.rows, to - from, k)
    values.forEach((v, at) => {
      outputs++
      // The integer side is scaled in double and rounded once: half a unit more.
      if (Math.abs(v - prepared[at]) > bound[at] + 2 ** -24 * Math.abs(v)) beyond++
    })
  })
  return { outputs, beyond }
}

describe('prepare = convert', () => {
  for (const test of [dense, conv, depthwise]) {
    for (const [weightName, algorithm, scheme] of weightKinds) {
      for (const [activationName, activations] of activationKinds) {
        // A row of an image is a pixel: patches would mix scales. Only layers that read rows take dynamic activations.
        if (activationName === 'int8 per token' && test !== dense) continue
        it(`${test.layer.op}, ${weightName}, ${activationName}: codes equal, outputs within the rounding of the product, at 8, 4, 3 and 2 bits`, async () => {
          for (const b of bits) {
            const { outputs, beyond } = await compare(test, { weights: { scheme: scheme(`int${b}`), algorithm }, activations })
            expect(outputs).toBeGreaterThan(0)
            expect(beyond, `int${b}: of ${outputs} outputs`).toBe(0)
          }
        })
      }
    }
  }

  it('Embedding: the rows that are looked up are the rows that are stored', async () => {
    const layer: TrainingLayer = { id: 'words', kind: 'embedding', op: 'Embedding', rows: 9, columns: 20, orientation: 'NK' }
    for (const b of bits) {
      const [{ weight, activation }] = planTraining([layer], { weights: { scheme: weightScheme(`int${b}`, { group: 8 }), algorithm: ste() }, activations: { scheme: int8PerTensor(), algorithm: ste() } }).layers
      expect(activation).toBeUndefined()
      if (weight === undefined) throw new Error('the embedding was left in float')
      const table = ops.constant(noise(180, 4, 0.5), [9, 20])
      const held = holdVariables(ops, weight.fakeQuant)
      const q = await convertWeight(backend, weight.fakeQuant, table, held.state(1, false))
      expect(Array.from(dequantize(q).data)).toEqual(Array.from(weight.fakeQuant.forward(ops, table, held.state(1, false)).data))
    }
  })
})
