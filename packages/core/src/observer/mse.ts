import type { HistogramStatistic } from '../contract/v2/statistics.js'
import { roundHalfEven } from '../reference/round.js'
import { foldMagnitudes } from './histogram.js'

/** Shares of the whole range that are tried: 1 down to 0.2. */
export const MSE_SHARES = Float64Array.from({ length: 100 }, (_, j) => 1 - (j * 0.8) / 99)

/**
 * Threshold of least squared quantization error for codes `-qmax … qmax`; the first of equal minima. Values are taken at the centres of
 * their bins, so it is for steps wider than a bin: 8 bits and fewer.
 */
export function mseThreshold(histogram: HistogramStatistic, qmax: number): number {
  const top = Math.max(-histogram.min, histogram.max, 0)
  const { counts, width } = foldMagnitudes(histogram)
  const filled = filledBins(counts, 0, width)
  return top * leastShare((share) => squaredError(filled, (top * share) / qmax, 0, -qmax, qmax))
}

/** Range of least squared quantization error for codes `0 … qmax` with a zero point; both ends shrink together. */
export function mseRange(histogram: HistogramStatistic, qmax: number): { readonly min: number; readonly max: number } {
  const low = Math.min(histogram.min, 0)
  const high = Math.max(histogram.max, 0)
  const { counts } = histogram
  const filled = filledBins(counts, histogram.low, (histogram.high - histogram.low) / counts.length)
  const share = leastShare((f) => {
    const scale = ((high - low) * f) / qmax
    return squaredError(filled, scale, roundHalfEven((-low * f) / scale), 0, qmax)
  })
  return { min: low * share, max: high * share }
}

function leastShare(error: (share: number) => number): number {
  let best = 1
  let least = Infinity
  for (const share of MSE_SHARES) {
    const found = error(share)
    if (found < least) {
      least = found
      best = share
    }
  }
  return best
}

/** Centres and counts of the bins that hold something. */
interface Filled {
  readonly values: Float64Array
  readonly counts: Float64Array
}

function filledBins(counts: Float64Array, low: number, width: number): Filled {
  const filled = counts.filter((count) => count !== 0)
  const values = new Float64Array(filled.length)
  let at = 0
  for (let i = 0; i < counts.length; i++) if (counts[i] !== 0) values[at++] = low + (i + 0.5) * width
  return { values, counts: filled }
}

function squaredError({ values, counts }: Filled, scale: number, zero: number, lowest: number, highest: number): number {
  let sum = 0
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number
    const code = roundHalfEven(value / scale) + zero
    const off = scale * ((code < lowest ? lowest : code > highest ? highest : code) - zero) - value
    sum += (counts[i] as number) * (off * off)
  }
  return sum
}
