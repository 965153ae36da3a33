import type { LinAlg } from '../contract/v2/linalg.js'
import type { GramStatistic } from '../contract/v2/statistics.js'
import { LowbitError } from '../errors.js'
import { wholly, type Slices } from '../slices/slices.js'

/**
 * Squared error of a layer's output summed over all calibration rows and output channels, from the Gram matrix alone:
 * `‖X (Ŵ − W)ᵀ‖² = tr(Δ G Δᵀ)`. No activation is needed. Both weights are `[rows, K]`; row n of a grouped convolution uses the
 * matrix of its group. Divide by `gram.rows · rows` for a mean.
 * @throws LOWBIT_SHAPE if sizes do not fit.
 */
export function outputError(weight: Float32Array, quantized: Float32Array, rows: number, gram: GramStatistic, linalg: LinAlg): number {
  return rowErrors(weight, quantized, rows, gram, linalg).reduce((a, b) => a + b, 0)
}

/** {@link outputError} of each output channel, `[rows]`. */
export function rowErrors(weight: Float32Array, quantized: Float32Array, rows: number, gram: GramStatistic, linalg: LinAlg): Float64Array {
  return wholly(rowErrorSlices(weight, quantized, rows, gram, linalg))
}

/** {@link rowErrors} in slices. */
export function* rowErrorSlices(weight: Float32Array, quantized: Float32Array, rows: number, gram: GramStatistic, linalg: LinAlg): Slices<Float64Array> {
  const delta = new Float64Array(weight.length)
  for (let from = 0; from < delta.length; from += PIECE) {
    const end = Math.min(delta.length, from + PIECE)
    for (let i = from; i < end; i++) delta[i] = quantized[i] - weight[i]
    yield
  }
  return yield* rowForms(delta, rows, gram, linalg)
}

/** Squared output of a layer, `tr(W G Wᵀ)`: what an error is relative to. */
export function outputPower(weight: Float32Array, rows: number, gram: GramStatistic, linalg: LinAlg): number {
  return quadraticForm(Float64Array.from(weight), rows, gram, linalg)
}

/** `Σ_n d_n G d_nᵀ` over the rows of `delta [rows, K]`. */
export function quadraticForm(delta: Float64Array, rows: number, gram: GramStatistic, linalg: LinAlg): number {
  return wholly(quadraticFormSlices(delta, rows, gram, linalg))
}

/** {@link quadraticForm} in slices. */
export function* quadraticFormSlices(delta: Float64Array, rows: number, gram: GramStatistic, linalg: LinAlg): Slices<number> {
  return (yield* rowForms(delta, rows, gram, linalg)).reduce((a, b) => a + b, 0)
}

/** `d_n G d_nᵀ` of each row of `delta [rows, K]`. Never negative: rounding may leave a hair below 0. */
function* rowForms(delta: Float64Array, rows: number, gram: GramStatistic, linalg: LinAlg): Slices<Float64Array> {
  return (yield* rowProductSlices(delta, delta, rows, gram, linalg)).map((form) => Math.max(form, 0))
}

/**
 * `a_n G b_nᵀ` of each row of two `[rows, K]` matrices: the product of the outputs that they give, summed over calibration rows.
 * @throws LOWBIT_SHAPE if sizes do not fit.
 */
export function rowProducts(a: Float64Array, b: Float64Array, rows: number, gram: GramStatistic, linalg: LinAlg): Float64Array {
  return wholly(rowProductSlices(a, b, rows, gram, linalg))
}

/** {@link rowProducts} in slices. */
export function* rowProductSlices(a: Float64Array, b: Float64Array, rows: number, gram: GramStatistic, linalg: LinAlg): Slices<Float64Array> {
  const { size: k, groups } = gram
  if (a.length !== rows * k || b.length !== a.length || rows % groups !== 0) {
    throw new LowbitError('LOWBIT_SHAPE', { thing: 'output error', found: `${a.length} weights in ${rows} rows, Gram matrices of ${k} × ${k} for ${groups} groups`, expected: 'rows of K weights, a whole number of rows a group' })
  }
  const perGroup = rows / groups
  const products = new Float64Array(rows)
  for (let g = 0; g < groups; g++) {
    const from = g * perGroup * k
    const seen = yield* linalg.slices.matmul(a.subarray(from, from + perGroup * k), yield* matrixOf(gram, g), perGroup, k, k)
    for (let row = 0; row < perGroup; row++) {
      const start = row * k
      let sum = 0
      for (let i = start; i < start + k; i++) sum += seen[i] * b[from + i]
      products[g * perGroup + row] = sum
      yield
    }
  }
  return products
}

/** Elements that are taken between two cuts. */
const PIECE = 2 ** 20

/** One group's Gram matrix in float64: as it is where it is that already. */
function* matrixOf({ data, size: k }: GramStatistic, group: number): Slices<Float64Array> {
  const part = data.subarray(group * k * k, (group + 1) * k * k)
  if (part instanceof Float64Array) return part
  const matrix = new Float64Array(part.length)
  for (let from = 0; from < part.length; from += PIECE) {
    matrix.set(part.subarray(from, from + PIECE), from)
    yield
  }
  return matrix
}
