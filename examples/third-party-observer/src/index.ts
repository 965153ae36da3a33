import { LowbitError, resolveOptions, type DeclarationsOf, type HistogramStatistic, type RangeObserver } from '@lowbit/core'

export interface SigmaOptions {
  /** Standard deviations kept on each side of the mean. Default 5. */
  readonly sigmas?: number
}

const OPTIONS = {
  sigmas: { type: 'number', above: 0, maximum: 100, default: 5, about: 'standard deviations kept on each side of the mean' },
} as const satisfies DeclarationsOf<SigmaOptions>

/** Keeps so many standard deviations around the mean, but no more than was seen. */
export function sigmaObserver(options: SigmaOptions = {}): RangeObserver<'histogram'> {
  const { sigmas } = resolveOptions<SigmaOptions, typeof OPTIONS>(OPTIONS, options, 'sigmaObserver')
  return {
    kind: 'observer',
    name: '@lowbit/example-third-party-observer',
    version: '0.0.0',
    apiVersion: 2,
    config: { sigmas },
    statistic: 'histogram',
    per: 'run',
    start() {
      let range: { min: number; max: number } | undefined
      return {
        add(seen) {
          const { mean, deviation } = moments(seen)
          range = { min: Math.max(seen.min, mean - sigmas * deviation), max: Math.min(seen.max, mean + sigmas * deviation) }
        },
        range() {
          if (range === undefined) throw new LowbitError('LOWBIT_CALIBRATION', { thing: 'activation', found: 'no values were seen' })
          return range
        },
        bytes: 16,
      }
    },
  }
}

function moments({ counts, low, high, min, max }: HistogramStatistic): { mean: number; deviation: number } {
  const width = (high - low) / counts.length
  let [total, sum, squares] = [0, 0, 0]
  counts.forEach((count, i) => {
    const value = Math.min(Math.max(low + (i + 0.5) * width, min), max)
    total += count
    sum += count * value
    squares += count * value * value
  })
  const mean = sum / total
  return { mean, deviation: Math.sqrt(Math.max(squares / total - mean * mean, 0)) }
}
