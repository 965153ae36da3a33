import type { HistogramStatistic } from '../contract/statistics.js'
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
  return top * leastShare((share) => {
    const scale = (top * share) / qmax
    return squaredError(counts, 0, width, (value) => scale * Math.min(roundHalfEven(value / scale), qmax))
  })
}

/** Range of least squared quantization error for codes `0 … qmax` with a zero point; both ends shrink together. */
export function mseRange(histogram: HistogramStatistic, qmax: number): { readonly min: number; readonly max: number } {
  const low = Math.min(histogram.min, 0)
  const high = Math.max(histogram.max, 0)
  const { counts } = histogram
  const width = (histogram.high - histogram.low) / counts.length
  const share = leastShare((f) => {
    const scale = ((high - low) * f) / qmax
    const zero = roundHalfEven((-low * f) / scale)
    return squaredError(counts, histogram.low, width, (value) => scale * (Math.min(Math.max(roundHalfEven(value / scale) + zero, 0), qmax) - zero))
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

function squaredError(counts: Float64Array, low: number, width: number, quantize: (value: number) => number): number {
  let sum = 0
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i] as number
    if (count === 0) continue
    const value = low + (i + 0.5) * width
    sum += count * (quantize(value) - value) ** 2
  }
  return sum
}
