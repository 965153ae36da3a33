import { tensor, type Batch } from '@lowbit/core'
import { float, graph, hostToTensor, model, node, valueInfo, writeOnnx } from '@lowbit/formats'

const SIZE = 8
const CLASSES = 6
const FILTERS = 12
const HIDDEN = 48
const RIDGE = 1
const TEST = 300

/** A model that has learned something, and data it has not seen. */
export interface Classifier {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly calibration: readonly Batch[]
  readonly test: Batch
  /** Class of each test picture. */
  readonly labels: readonly number[]
}

/**
 * A small network for a small task: which of six patterns lies under noise in a picture of 8 × 8. Conv, Gemm, ReLU and LayerNorm; hidden
 * layers are random, the last one is solved by ridge regression: as trained as closed form allows, in a moment and the same everywhere.
 */
export function classifier(): Classifier {
  const random = generator(5)
  const normal = (): number => Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random())
  const matrix = (rows: number, columns: number, scale: number): Float32Array<ArrayBuffer> => Float32Array.from({ length: rows * columns }, () => scale * normal())
  const plane = SIZE * SIZE
  const patterns = Array.from({ length: CLASSES }, () => smooth(matrix(1, plane, 1)))
  const filters = matrix(FILTERS, 9, 1 / 3)
  const features = FILTERS * (SIZE - 2) ** 2
  const w1 = matrix(HIDDEN, features, 1 / Math.sqrt(features))
  const b1 = matrix(1, HIDDEN, 0.1)
  const w2 = matrix(HIDDEN, HIDDEN, 1 / Math.sqrt(HIDDEN))
  const picture = (label: number): Float32Array<ArrayBuffer> => patterns[label].map((v) => 1.5 * v + 0.9 * normal())

  const hidden = (x: Float32Array): Float32Array => {
    const seen = new Float32Array(features)
    const side = SIZE - 2
    for (let f = 0; f < FILTERS; f++) {
      for (let y = 0; y < side; y++) {
        for (let c = 0; c < side; c++) {
          let sum = 0
          for (let k = 0; k < 9; k++) sum += filters[f * 9 + k] * x[(y + Math.floor(k / 3)) * SIZE + c + (k % 3)]
          seen[(f * side + y) * side + c] = Math.max(0, sum)
        }
      }
    }
    const first = product(w1, seen, HIDDEN).map((v, i) => Math.max(0, v + b1[i]))
    return product(w2, normalized(first), HIDDEN).map((v) => Math.max(0, v))
  }
  const train = Array.from({ length: 600 }, (_, i) => ({ label: i % CLASSES, h: hidden(picture(i % CLASSES)) }))
  const head = ridge(train)

  const weights = (name: string, shape: readonly number[], data: Float32Array<ArrayBuffer>) => hostToTensor(name, tensor('float32', shape, data))
  const main = graph({
    nodes: [
      node('Conv', ['x', 'filters'], ['a'], {}, '', 'conv'),
      node('Relu', ['a'], ['b']),
      node('Flatten', ['b'], ['c']),
      node('Gemm', ['c', 'w1', 'b1'], ['d'], { transB: 1 }, '', 'wide'),
      node('Relu', ['d'], ['e']),
      node('LayerNormalization', ['e', 'gain', 'shift'], ['f'], { epsilon: float(1e-5) }),
      node('Gemm', ['f', 'w2'], ['g'], { transB: 1 }, '', 'middle'),
      node('Relu', ['g'], ['h']),
      node('Gemm', ['h', 'head'], ['y'], { transB: 1 }, '', 'head'),
    ],
    inputs: [valueInfo('x', 'float32', ['n', 1, SIZE, SIZE])],
    outputs: [valueInfo('y', 'float32', ['n', CLASSES])],
    initializers: [
      weights('filters', [FILTERS, 1, 3, 3], filters), weights('w1', [HIDDEN, features], w1), weights('b1', [HIDDEN], b1), weights('w2', [HIDDEN, HIDDEN], w2),
      weights('gain', [HIDDEN], new Float32Array(HIDDEN).fill(1)), weights('shift', [HIDDEN], new Float32Array(HIDDEN)), weights('head', [CLASSES, HIDDEN], head),
    ],
  })
  const batch = (count: number): Batch => {
    const data = new Float32Array(count * plane)
    for (let i = 0; i < count; i++) data.set(picture(i % CLASSES), i * plane)
    return { x: tensor('float32', [count, 1, SIZE, SIZE], data) }
  }
  return {
    bytes: writeOnnx(model(main, { '': 17 }, 8)),
    calibration: Array.from({ length: 6 }, () => batch(100)),
    test: batch(TEST),
    labels: Array.from({ length: TEST }, (_, i) => i % CLASSES),
  }
}

function product(w: Float32Array, x: Float32Array, rows: number): Float32Array {
  const k = x.length
  return Float32Array.from({ length: rows }, (_, r) => x.reduce((sum, v, i) => sum + v * w[r * k + i], 0))
}

function normalized(x: Float32Array): Float32Array {
  const mean = x.reduce((a, b) => a + b, 0) / x.length
  const variance = x.reduce((s, v) => s + (v - mean) ** 2, 0) / x.length
  return x.map((v) => (v - mean) / Math.sqrt(variance + 1e-5))
}

function smooth(x: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  return x.map((v, i) => (v + (x[i - 1] ?? 0) + (x[i + 1] ?? 0) + (x[i - SIZE] ?? 0) + (x[i + SIZE] ?? 0)) / 2.2)
}

/** `[classes, hidden]`: least squares to ±1 targets, by Gaussian elimination. */
function ridge(samples: readonly { readonly label: number; readonly h: Float32Array }[]): Float32Array<ArrayBuffer> {
  const k = HIDDEN
  const width = k + CLASSES
  const a = new Float64Array(k * width)
  for (const { label, h } of samples) {
    for (let i = 0; i < k; i++) {
      for (let j = 0; j < k; j++) a[i * width + j] += h[i] * h[j]
      for (let c = 0; c < CLASSES; c++) a[i * width + k + c] += h[i] * (c === label ? 1 : -1)
    }
  }
  for (let i = 0; i < k; i++) a[i * width + i] += RIDGE
  for (let p = 0; p < k; p++) {
    for (let i = 0; i < k; i++) {
      if (i === p) continue
      const f = a[i * width + p] / a[p * width + p]
      for (let j = p; j < width; j++) a[i * width + j] -= f * a[p * width + j]
    }
  }
  const head = new Float32Array(CLASSES * k)
  for (let c = 0; c < CLASSES; c++) for (let i = 0; i < k; i++) head[c * k + i] = a[i * width + k + c] / a[i * width + i]
  return head
}

function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state + 0.5) / 2 ** 32
  }
}
