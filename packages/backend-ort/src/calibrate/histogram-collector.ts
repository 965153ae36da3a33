import type { Collector } from './collector.js'
import { floatsOf } from './collector.js'
import { StreamingHistogram } from './histogram.js'

/** A histogram of a whole tensor, which leaves the runtime for it. */
export function histogramCollector(tensor: string, bins?: number): Collector<'histogram'> {
  const histogram = new StreamingHistogram(bins)
  return {
    outputs: [tensor],
    kept: 8 * (bins ?? 2048),
    add: (values, sample) => histogram.add(floatsOf(values, tensor), `activation '${tensor}' in sample ${sample}`),
    result: () => histogram.result(),
  }
}
