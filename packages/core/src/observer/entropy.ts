import type { HistogramStatistic } from '../contract/v2/statistics.js'
import { foldMagnitudes } from './histogram.js'

export interface EntropyOptions {
  /** Levels that the kept bins are merged into: 128 for signed data, 256 for data without negative values. */
  readonly levels?: number
  /**
   * `guarded` (default): as `nvidia`, but at least 99 % of the values are kept. Without that, a single kept bin has divergence 0, and
   * data far from zero are clipped to one value. `nvidia`: the first bin is set to the second, so that exact zeros do not dominate.
   * `slides`: without that rule (Migacz, "8-bit Inference with TensorRT", 2017).
   */
  readonly variant?: 'guarded' | 'nvidia' | 'slides'
}

/** Fewest bins that may be kept. */
const FIRST = 128

/**
 * Kullback-Leibler divergence between the clipped distribution and its quantized form, for each number of kept bins from 128 to all.
 * Infinite where it is not defined. All nonzero bins of a level share one quantized value, so that prefix sums give each divergence
 * in one pass over the levels.
 * @param counts of |x| in equal bins
 */
export function divergenceCurve(counts: Float64Array, levels: number, firstBinRule: boolean): Float64Array {
  const bins = counts.length
  const h = counts.slice()
  if (firstBinRule && bins > 1) h[0] = h[1] as number
  const mass = new Float64Array(bins + 1)
  const entropy = new Float64Array(bins + 1)
  const filled = new Int32Array(bins + 1)
  for (let j = 0; j < bins; j++) {
    const count = h[j] as number
    mass[j + 1] = (mass[j] as number) + count
    entropy[j + 1] = (entropy[j] as number) + (count > 0 ? count * Math.log(count) : 0)
    filled[j + 1] = (filled[j] as number) + (count > 0 ? 1 : 0)
  }
  const total = mass[bins] as number
  return Float64Array.from({ length: Math.max(bins - FIRST + 1, 0) }, (_, at) => {
    const kept = at + FIRST
    const inside = mass[kept] as number
    const clipped = total - inside
    const last = h[kept - 1] as number
    // The clipped mass lands in the last kept bin, which must be able to hold it.
    if (inside === 0 || (clipped > 0 && last === 0)) return Infinity
    let sum = (entropy[kept] as number) - (last > 0 ? last * Math.log(last) : 0)
    if (last + clipped > 0) sum += (last + clipped) * Math.log(last + clipped)
    for (let level = 0; level < levels; level++) {
      const from = Math.ceil((level * kept) / levels)
      const to = Math.ceil(((level + 1) * kept) / levels)
      const count = (mass[to] as number) - (mass[from] as number)
      if (count <= 0) continue
      const quantized = Math.log(count / ((filled[to] as number) - (filled[from] as number)))
      sum -= (to === kept ? count + clipped : count) * quantized
    }
    return sum / total + Math.log(inside / total)
  })
}

/**
 * Number of bins kept by the entropy search: the last of those with the least divergence, all where none is defined.
 */
export function entropyBins(counts: Float64Array, options: EntropyOptions = {}): number {
  const { levels = 128, variant = 'guarded' } = options
  const curve = divergenceCurve(counts, levels, variant !== 'slides')
  const total = counts.reduce((a, b) => a + b, 0)
  let below = 0
  let best = counts.length
  let least = Infinity
  for (let kept = 1; kept <= counts.length; kept++) {
    below += counts[kept - 1] as number
    const divergence = curve[kept - FIRST] ?? Infinity
    if (kept < FIRST || (variant === 'guarded' && below < 0.99 * total)) continue
    // Prefix sums leave rounding of this size: equal divergences must count as equal.
    if (divergence <= least + 1e-12 && divergence < Infinity) {
      best = kept
      least = Math.min(least, divergence)
    }
  }
  return best
}

/** Threshold t of the entropy method: values beyond `[-t, t]` are clipped. */
export function entropyThreshold(histogram: HistogramStatistic, options: EntropyOptions = {}): number {
  const top = Math.max(-histogram.min, histogram.max, 0)
  if (top === 0) return 0
  const { counts, width } = foldMagnitudes(histogram)
  const levels = options.levels ?? (histogram.min >= 0 ? 256 : 128)
  return Math.min(entropyBins(counts, { ...options, levels }) * width, top)
}
