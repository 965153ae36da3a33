import type { ActivationParams } from '../contract/v2/host.js'
import type { HistogramStatistic, RangeStatistic } from '../contract/v2/statistics.js'
import { LowbitError } from '../errors.js'
import { affineParams } from '../reference/affine.js'
import { entropyThreshold, type EntropyOptions } from './entropy.js'
import { mseRange, mseThreshold } from './mse.js'
import { nothingSeen } from './observer.js'
import { percentileMagnitude, percentileRange } from './percentile.js'

/** Which part of what was seen becomes the range of an activation. */
export type CalibrationMethod = 'minmax' | 'percentile' | 'entropy' | 'mse'

/** How a range becomes scale and zero point of a static activation. */
export interface ActivationParamsOptions {
  readonly dtype: ActivationParams['dtype']
  /** Zero point in the middle of the codes. Default false. */
  readonly symmetric?: boolean
  /** About half of the codes. Default false. */
  readonly reduceRange?: boolean
  /** Which range is taken. Default `minmax`; the others need a histogram. */
  readonly method?: CalibrationMethod
  /** Percent of the values kept inside; for `percentile`. Default 99.999. */
  readonly percentile?: number
  /** For `entropy`. Default `guarded`. */
  readonly variant?: EntropyOptions['variant']
}

/**
 * Range of an activation by a calibration method, within what was seen. Percentiles cut both sides together (symmetric) or half of the rest
 * on each side. `mse` is for 8-bit codes: 16-bit steps are finer than the bins, and keep the whole range.
 * @throws LOWBIT_CALIBRATION if the method needs a histogram and got a range, or if nothing was seen.
 */
export function activationRange(seen: RangeStatistic | HistogramStatistic, options: ActivationParamsOptions): { readonly min: number; readonly max: number } {
  const { method = 'minmax', percentile = 99.999, symmetric = false, dtype } = options
  if (seen.count === 0) throw nothingSeen('activation')
  if (!('low' in seen)) {
    if (method !== 'minmax') throw new LowbitError('LOWBIT_CALIBRATION', { thing: `method ${method}`, found: 'a range only', expected: 'a histogram of the activation' })
    return { min: seen.min.reduce((a, b) => Math.min(a, b), Infinity), max: seen.max.reduce((a, b) => Math.max(a, b), -Infinity) }
  }
  const within = (reach: number) => ({ min: Math.max(-reach, seen.min), max: Math.min(reach, seen.max) })
  switch (method) {
    case 'minmax':
      return { min: seen.min, max: seen.max }
    case 'percentile':
      return symmetric ? within(percentileMagnitude(seen, percentile)) : percentileRange(seen, (100 - percentile) / 2)
    case 'entropy':
      return within(entropyThreshold(seen, options.variant === undefined ? {} : { variant: options.variant }))
    case 'mse':
      if (dtype === 'int16' || dtype === 'uint16') return { min: seen.min, max: seen.max }
      return symmetric ? within(mseThreshold(seen, 127)) : mseRange(seen, 255)
  }
}

/**
 * Scale and zero point of an activation from what was observed.
 * @throws LOWBIT_CALIBRATION as {@link activationRange}; LOWBIT_NONFINITE for a range that is not finite
 */
export function activationParams(seen: RangeStatistic | HistogramStatistic, options: ActivationParamsOptions): ActivationParams {
  return activationRangeParams(activationRange(seen, options), options.dtype, options)
}

/**
 * Scale and zero point of an activation whose codes shall reach these limits.
 * @throws LOWBIT_NONFINITE for limits that are not finite
 */
export function activationRangeParams({ min, max }: { readonly min: number; readonly max: number }, dtype: ActivationParams['dtype'], { symmetric = false, reduceRange = false }: { readonly symmetric?: boolean; readonly reduceRange?: boolean } = {}): ActivationParams {
  if (!Number.isFinite(min) || !Number.isFinite(max)) throw new LowbitError('LOWBIT_NONFINITE', { thing: 'activation range', found: `[${min}, ${max}]`, expected: 'finite limits' })
  const { scale, zeroPoint } = affineParams(min, max, dtype, { symmetric, reduceRange })
  return { dtype, scale, zeroPoint }
}
