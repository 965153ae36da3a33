import type { GramStatistic } from '../contract/statistics.js'
import { decibels } from '../report/measures.js'

/** Multiply-adds that a report may cost; larger sites go without the figure. */
const MAX_WORK = 4e9

/**
 * SQNR of a site's output in dB, predicted from the Gram matrix of its input: `tr(W G Wᵀ) / tr(Δ G Δᵀ)`, Δ = Ŵ − W.
 * Both weights are `[N, K]`; a convolution's row n uses the matrix of its group. Undefined where it would cost too much.
 */
export function outputSqnr(weight: Float32Array, quantized: Float32Array, rows: number, gram: GramStatistic): number | undefined {
  const k = gram.size
  if (rows * k * k > MAX_WORK) return undefined
  let signal = 0
  let noise = 0
  const delta = new Float64Array(k)
  const perGroup = Math.max(1, rows / gram.groups)
  for (let n = 0; n < rows; n++) {
    const g = gram.data.subarray(Math.floor(n / perGroup) * k * k, (Math.floor(n / perGroup) + 1) * k * k)
    const w = weight.subarray(n * k, (n + 1) * k)
    for (let i = 0; i < k; i++) delta[i] = quantized[n * k + i] - w[i]
    signal += quadraticForm(g, w, k)
    noise += quadraticForm(g, delta, k)
  }
  return decibels(signal, noise)
}

/** xᵀ G x */
function quadraticForm(g: Float32Array | Float64Array, x: Float32Array | Float64Array, k: number): number {
  let total = 0
  for (let i = 0; i < k; i++) {
    const xi = x[i]
    if (xi === 0) continue
    let s = 0
    const row = i * k
    for (let j = 0; j < k; j++) s += g[row + j] * x[j]
    total += xi * s
  }
  return total
}
