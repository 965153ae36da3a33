import type { LinAlg } from '../contract/linalg.js'
import type { GramStatistic } from '../contract/statistics.js'
import { LowbitError } from '../errors.js'

/**
 * Squared error of a layer's output summed over all calibration rows and output channels, from the Gram matrix alone:
 * `‖X (Ŵ − W)ᵀ‖² = tr(Δ G Δᵀ)`. No activation is needed. Both weights are `[rows, K]`; row n of a grouped convolution uses the
 * matrix of its group. Divide by `gram.rows · rows` for a mean.
 * @throws LOWBIT_SHAPE if sizes do not fit.
 */
export function outputError(weight: Float32Array, quantized: Float32Array, rows: number, gram: GramStatistic, linalg: LinAlg): number {
  const delta = new Float64Array(weight.length)
  for (let i = 0; i < delta.length; i++) delta[i] = quantized[i] - weight[i]
  return quadraticForm(delta, rows, gram, linalg)
}

/** Squared output of a layer, `tr(W G Wᵀ)`: what an error is relative to. */
export function outputPower(weight: Float32Array, rows: number, gram: GramStatistic, linalg: LinAlg): number {
  return quadraticForm(Float64Array.from(weight), rows, gram, linalg)
}

/** `Σ_n d_n G d_nᵀ` over the rows of `delta [rows, K]`. Never negative: rounding may leave a hair below 0. */
export function quadraticForm(delta: Float64Array, rows: number, gram: GramStatistic, linalg: LinAlg): number {
  const { size: k, groups } = gram
  if (delta.length !== rows * k || rows % groups !== 0) {
    throw new LowbitError('LOWBIT_SHAPE', { thing: 'output error', found: `${delta.length} weights in ${rows} rows, Gram matrices of ${k} × ${k} for ${groups} groups`, expected: 'rows of K weights, a whole number of rows a group' })
  }
  const perGroup = rows / groups
  let total = 0
  for (let g = 0; g < groups; g++) {
    const part = delta.subarray(g * perGroup * k, (g + 1) * perGroup * k)
    const matrix = Float64Array.from(gram.data.subarray(g * k * k, (g + 1) * k * k))
    const product = linalg.matmul(part, matrix, perGroup, k, k)
    for (let i = 0; i < part.length; i++) total += product[i] * part[i]
  }
  return Math.max(total, 0)
}
