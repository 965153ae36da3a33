import { HistogramObserver, isLowbitError, LowbitError } from '@lowbit/core'
import { type Collector, floatsOf } from './collector.js'

/** A histogram of a whole tensor, which leaves the runtime for it. */
export function histogramCollector(tensor: string, bins?: number): Collector<'histogram'> {
  const histogram = new HistogramObserver({ thing: `activation '${tensor}'`, ...(bins === undefined ? {} : { bins }) })
  return {
    outputs: [tensor],
    kept: histogram.bytes,
    add(values, sample) {
      const data = floatsOf(values, tensor)
      try {
        histogram.observe({ dtype: 'float32', shape: [data.length], data })
      } catch (error) {
        if (!isLowbitError(error, 'LOWBIT_NONFINITE')) throw error
        throw new LowbitError(error.code, { ...error.parts, thing: `${error.parts.thing} in sample ${sample}`, cause: error })
      }
    },
    result: () => histogram.result(),
  }
}
