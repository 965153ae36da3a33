import type { ActivationParams } from '../contract/host.js'
import type { HistogramStatistic, RangeStatistic } from '../contract/statistics.js'
import { affineParams } from '../reference/affine.js'

/** How a range becomes scale and zero point of a static activation. */
export interface ActivationParamsOptions {
  readonly dtype: ActivationParams['dtype']
  /** Zero point in the middle of the codes. Default false. */
  readonly symmetric?: boolean
  /** Which range is taken. Default `minmax`; the others need a histogram. */
  readonly method?: 'minmax' | 'percentile' | 'entropy' | 'mse'
  /** Percent of the values kept inside; for `percentile`. Default 99.999. */
  readonly percentile?: number
}

/**
 * Scale and zero point of an activation from what was observed.
 * @throws LOWBIT_CALIBRATION if the method needs a histogram and got a range, or if nothing was seen.
 */
export function activationParams(seen: RangeStatistic | HistogramStatistic, options: ActivationParamsOptions): ActivationParams {
  const [min, max] = 'low' in seen ? [seen.min, seen.max] : [seen.min[0] ?? 0, seen.max[0] ?? 0]
  const { scale, zeroPoint } = affineParams(min, max, options.dtype, { symmetric: options.symmetric ?? false })
  return { dtype: options.dtype, scale, zeroPoint }
}
