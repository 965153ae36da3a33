import type { RangeCodes, RangeObserver, RangeSource } from '../contract/v2/observer.js'
import type { Json } from '../contract/v2/plugin.js'
import type { HistogramStatistic, RangeStatistic, StatisticValues } from '../contract/v2/statistics.js'
import { resolveOptions } from '../options/check-options.js'
import type { Declarations, DeclarationsOf } from '../options/declaration.js'
import { VERSION } from '../version.js'
import { activationRange, type ActivationParamsOptions } from './activation-params.js'
import { nothingSeen } from './observer.js'

export interface PercentileObserverOptions {
  /** Percent of the values kept inside. Default 99.999. */
  readonly percent?: number
}

/** What {@link percentileObserver} takes. */
export const PERCENTILE_OPTIONS = {
  percent: { type: 'number', above: 0, maximum: 100, default: 99.999, about: 'percent of the values kept inside' },
} as const satisfies DeclarationsOf<PercentileObserverOptions>

export interface EntropyObserverOptions {
  /** See `EntropyOptions`. Default `guarded`. */
  readonly variant?: 'guarded' | 'nvidia' | 'slides'
}

/** What {@link entropyObserver} takes. */
export const ENTROPY_OPTIONS = {
  variant: { type: 'choice', values: ['guarded', 'nvidia', 'slides'], default: 'guarded', about: 'what keeps a single bin from winning' },
} as const satisfies DeclarationsOf<EntropyObserverOptions>

export interface MovingAverageObserverOptions {
  /** Share of the new batch, or `mean` for the plain mean over batches. Default 0.01. */
  readonly constant?: number | 'mean'
}

/** What {@link movingAverageObserver} takes. */
export const MOVING_AVERAGE_OPTIONS = {
  constant: { type: 'either', of: [{ type: 'number', above: 0, maximum: 1 }, { type: 'choice', values: ['mean'] }], default: 0.01, about: 'share of the new batch, or mean for the plain mean over batches' },
} as const satisfies DeclarationsOf<MovingAverageObserverOptions>

/** The whole of what was seen. */
export function minmaxObserver(options: object = {}): RangeObserver<'range'> {
  resolveOptions<object, Declarations>({}, options, 'minmaxObserver')
  return wholeRun('minmax', 'range', {}, { method: 'minmax' })
}

/** Limits of each batch, averaged over batches: single outliers count little. */
export function movingAverageObserver(options: MovingAverageObserverOptions = {}): RangeObserver<'range'> {
  const { constant } = resolveOptions<MovingAverageObserverOptions, typeof MOVING_AVERAGE_OPTIONS>(MOVING_AVERAGE_OPTIONS, options, 'movingAverageObserver')
  return {
    ...plugin('moving-average', { constant }),
    statistic: 'range',
    per: 'batch',
    start() {
      let min = 0
      let max = 0
      let batches = 0
      return {
        add(seen) {
          const now = activationRange(seen, { dtype: 'uint8' })
          const share = batches === 0 ? 1 : constant === 'mean' ? 1 / (batches + 1) : constant
          min += share * (now.min - min)
          max += share * (now.max - max)
          batches++
        },
        range() {
          if (batches === 0) throw nothingSeen('activation')
          return { min, max }
        },
        bytes: 24,
      }
    },
  }
}

/** Cuts what few values reach: both sides alike (symmetric), or half of the rest on each side. */
export function percentileObserver(options: PercentileObserverOptions = {}): RangeObserver<'histogram'> {
  const { percent } = resolveOptions<PercentileObserverOptions, typeof PERCENTILE_OPTIONS>(PERCENTILE_OPTIONS, options, 'percentileObserver')
  return wholeRun('percentile', 'histogram', { percent }, { method: 'percentile', percentile: percent })
}

/** Least Kullback-Leibler divergence from what was seen (Migacz 2017). */
export function entropyObserver(options: EntropyObserverOptions = {}): RangeObserver<'histogram'> {
  const { variant } = resolveOptions<EntropyObserverOptions, typeof ENTROPY_OPTIONS>(ENTROPY_OPTIONS, options, 'entropyObserver')
  return wholeRun('entropy', 'histogram', { variant }, { method: 'entropy', variant })
}

/** Least squared error of rounding. */
export function mseObserver(options: object = {}): RangeObserver<'histogram'> {
  resolveOptions<object, Declarations>({}, options, 'mseObserver')
  return wholeRun('mse', 'histogram', {}, { method: 'mse' })
}

function plugin(name: string, config: Json) {
  return { kind: 'observer', name: `@lowbit/core/${name}`, version: VERSION, apiVersion: 2, config } as const
}

/** An observer that looks once, at the statistic of the whole run. */
function wholeRun<S extends RangeSource>(name: string, statistic: S, config: Json, options: Omit<ActivationParamsOptions, 'dtype' | 'symmetric'>): RangeObserver<S> {
  return {
    ...plugin(name, config),
    statistic,
    per: 'run',
    start({ dtype, symmetric }: RangeCodes) {
      let whole: RangeStatistic | HistogramStatistic | undefined
      return {
        add(seen: StatisticValues[S]) {
          whole = seen
        },
        range() {
          if (whole === undefined) throw nothingSeen('activation')
          return activationRange(whole, { ...options, dtype, symmetric })
        },
        get bytes() {
          return whole === undefined ? 0 : 'counts' in whole ? whole.counts.byteLength : whole.min.byteLength + whole.max.byteLength
        },
      }
    },
  }
}
