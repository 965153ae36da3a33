import type { HistogramStatistic } from '../contract/v2/statistics.js'
import { LowbitError } from '../errors.js'
import { foldMagnitudes } from './histogram.js'

/**
 * How a share of the values becomes a limit. `linear`: between the two order statistics around `percent/100 · (count - 1)`, as numpy does,
 * each placed inside its bin. `edge`: the lower edge of the bin where the share is reached, as ONNX Runtime does.
 */
export type PercentileRule = 'linear' | 'edge'

/** Value of order statistic `rank`, counted from 0: evenly spread inside its bin. */
function orderStatistic(counts: Float64Array, rank: number): number {
  let below = 0
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i] as number
    if (below + count > rank) return i + (rank - below + 0.5) / count
    below += count
  }
  return counts.length
}

/** Limit in bins from the lowest edge on. */
function quantile(counts: Float64Array, percent: number, rule: PercentileRule): number {
  const total = counts.reduce((a, b) => a + b, 0)
  if (rule === 'edge') {
    let below = 0
    return Math.max(counts.findIndex((count) => (below += count) / total >= percent / 100), 0)
  }
  const rank = (percent / 100) * (total - 1)
  const [before, after] = [orderStatistic(counts, Math.floor(rank)), orderStatistic(counts, Math.ceil(rank))]
  return before + (rank - Math.floor(rank)) * (after - before)
}

function checkPercent(percent: number): void {
  if (!(percent > 0 && percent <= 100)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'percentile', found: String(percent), expected: 'a number above 0, at most 100' })
}

/**
 * Largest magnitude that keeps `percent` of the values inside `[-t, t]`.
 * @throws LOWBIT_ARGUMENT for a percentage out of range
 */
export function percentileMagnitude(histogram: HistogramStatistic, percent: number, rule: PercentileRule = 'linear'): number {
  checkPercent(percent)
  const { counts, width } = foldMagnitudes(histogram)
  const top = Math.max(-histogram.min, histogram.max, 0)
  return percent === 100 ? top : Math.min(quantile(counts, percent, rule) * width, top)
}

/**
 * Range that cuts at both ends.
 * @param cut percent cut on each side
 */
export function percentileRange(histogram: HistogramStatistic, cut: number, rule: PercentileRule = 'linear'): { readonly min: number; readonly max: number } {
  checkPercent(100 - cut)
  if (cut === 0) return { min: histogram.min, max: histogram.max }
  const { counts, low, high } = histogram
  const width = (high - low) / counts.length
  const limit = (percent: number): number => Math.min(Math.max(low + quantile(counts, percent, rule) * width, histogram.min), histogram.max)
  return { min: limit(cut), max: limit(100 - cut) }
}
