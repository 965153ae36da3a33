import type { Batch, BatchSource, ModelHost } from '../contract/v2/host.js'
import type { RangeObserver, RangeSource, RangeStream } from '../contract/v2/observer.js'
import type { StatisticRequest, StatisticValues } from '../contract/v2/statistics.js'
import { LowbitError } from '../errors.js'
import { entropyObserver, minmaxObserver, movingAverageObserver, mseObserver, percentileObserver } from '../observer/range-observers.js'
import { checkPlugin } from '../plugin.js'
import { observeThrough } from './calibration-cache.js'
import type { StageContext } from './context.js'
import type { StaticActivations } from './options.js'

/** Bins and sample of histograms. */
export interface HistogramSettings {
  readonly bins: number
  readonly sample: number | 'all'
}

/** What an activation was seen to reach, and what of it an observer would keep. */
export interface SeenRange {
  readonly min: number
  readonly max: number
  readonly range: { readonly min: number; readonly max: number }
}

/** The observer that the options name: one that was passed, or one of core's own. */
export function chosenObserver({ observer, method = 'mse', percentile }: StaticActivations): RangeObserver {
  if (observer !== undefined) return checkPlugin(observer, 'observer')
  switch (method) {
    case 'minmax':
      return minmaxObserver()
    case 'moving-average':
      return movingAverageObserver()
    case 'percentile':
      return percentileObserver(percentile === undefined ? {} : { percent: percentile })
    case 'entropy':
      return entropyObserver()
    case 'mse':
      return mseObserver()
  }
}

/**
 * Shows an observer what the activations do: once all of the data together, or a batch at a time.
 * @returns by tensor; those that were never computed are missing
 * @throws LOWBIT_PLUGIN for limits that are none
 */
export async function observeRanges(host: ModelHost, stage: string, tensors: readonly string[], data: BatchSource, wanted: StaticActivations, histograms: HistogramSettings, context: StageContext): Promise<ReadonlyMap<string, SeenRange>> {
  const observer = chosenObserver(wanted)
  const unused = observer.statistic === 'histogram' ? undefined : wanted.bins !== undefined ? 'bins' : wanted.sample !== undefined ? 'sample' : undefined
  if (unused !== undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: `quantize({ activations.${unused} })`, found: `does nothing: ${observer.name} looks at no histogram`, fix: `leave ${unused} out` })
  const requests = new Map(tensors.map((tensor) => [tensor, requestFor(observer.statistic, tensor, histograms)]))
  const streams = new Map<string, Stream>()
  const look = async (part: BatchSource, label: string): Promise<void> => {
    const statistics = await observeThrough(host, label, [...requests.values()], part, context)
    for (const [tensor, request] of requests) {
      const seen = statistics.get(request)
      if (seen === undefined || seen.count === 0) continue
      const stream = streams.get(tensor) ?? { stream: observer.start({ dtype: wanted.dtype, symmetric: wanted.symmetric ?? false }), min: Infinity, max: -Infinity }
      const { min, max } = limitsOf(seen)
      streams.set(tensor, { ...stream, min: Math.min(stream.min, min), max: Math.max(stream.max, max) })
      stream.stream.add(seen)
    }
  }
  if (observer.per === 'run') await look(data, stage)
  else {
    let batches = 0
    for await (const batch of data) await look([batch] satisfies readonly Batch[], `${stage}, batch ${batches++}`)
  }
  return new Map([...streams].map(([tensor, { stream, min, max }]) => [tensor, { min, max, range: checkedRange(stream, observer, tensor) }]))
}

interface Stream {
  readonly stream: RangeStream
  readonly min: number
  readonly max: number
}

function requestFor(statistic: RangeSource, tensor: string, { bins, sample }: HistogramSettings): StatisticRequest<RangeSource> {
  return statistic === 'range' ? { statistic, target: { tensor } } : { statistic, target: { tensor }, options: sample === 'all' ? { bins } : { bins, sample } }
}

function limitsOf(seen: StatisticValues[RangeSource]): { readonly min: number; readonly max: number } {
  return 'low' in seen ? { min: seen.min, max: seen.max } : { min: seen.min[0] ?? 0, max: seen.max[0] ?? 0 }
}

function checkedRange(stream: RangeStream, { name }: RangeObserver, tensor: string): SeenRange['range'] {
  const range = stream.range()
  if (Number.isFinite(range.min) && Number.isFinite(range.max) && range.min <= range.max) return range
  throw new LowbitError('LOWBIT_PLUGIN', { thing: name, found: `the range [${range.min}, ${range.max}] for '${tensor}'`, expected: 'finite limits, the lower one first' })
}
