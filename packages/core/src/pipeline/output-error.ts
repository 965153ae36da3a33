import type { LinAlg } from '../contract/v2/linalg.js'
import type { GramStatistic } from '../contract/v2/statistics.js'
import { decibels } from '../report/measures.js'
import { quadraticFormSlices, rowErrorSlices } from '../sensitivity/output-error.js'
import { wholly, type Slices } from '../slices/slices.js'

/** Multiply-adds that a report may cost; larger sites go without the figure. */
const MAX_WORK = 4e9

/**
 * SQNR of a site's output in dB, predicted from the Gram matrix of its input: `tr(W G Wᵀ) / tr(Δ G Δᵀ)`, Δ = Ŵ − W.
 * Undefined where it would cost too much.
 */
export function outputSqnr(weight: Float32Array, quantized: Float32Array, rows: number, gram: GramStatistic, linalg: LinAlg): number | undefined {
  return wholly(outputSqnrSlices(weight, quantized, rows, gram, linalg))
}

/** {@link outputSqnr} in slices. */
export function* outputSqnrSlices(weight: Float32Array, quantized: Float32Array, rows: number, gram: GramStatistic, linalg: LinAlg): Slices<number | undefined> {
  if (rows * gram.size * gram.size > MAX_WORK) return undefined
  return decibels(yield* quadraticFormSlices(Float64Array.from(weight), rows, gram, linalg), (yield* rowErrorSlices(weight, quantized, rows, gram, linalg)).reduce((a, b) => a + b, 0))
}
