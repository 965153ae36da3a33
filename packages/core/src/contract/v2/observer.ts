import type { ActivationParams } from './host.js'
import type { Plugin } from './plugin.js'
import type { StatisticValues } from './statistics.js'

/** Statistics of an activation that a range can be taken from. Hosts compute them inside the runtime where they can. */
export type RangeSource = 'range' | 'histogram'

/** The codes that a range is for. */
export interface RangeCodes {
  readonly dtype: ActivationParams['dtype']
  /** Zero point in the middle of the codes. */
  readonly symmetric: boolean
}

/** What one activation was seen to do, so far. */
export interface RangeStream<S extends RangeSource = RangeSource> {
  /** Takes what was seen since the last call. Values are finite. */
  add(seen: StatisticValues[S]): void
  /** Limits that codes shall reach. @throws LOWBIT_CALIBRATION if nothing was added */
  range(): { readonly min: number; readonly max: number }
  /** Bytes held between calls; they do not grow with the number of batches. */
  readonly bytes: number
}

/** Decides the range of static activations: a statistic in, a range out. */
export interface RangeObserver<S extends RangeSource = RangeSource> extends Plugin<'observer'> {
  /** The statistic it looks at. */
  readonly statistic: S
  /** `run`: `add` is called once, with what all batches showed together. `batch`: once a batch, in their order. */
  readonly per: 'run' | 'batch'
  /** Starts with one activation. */
  start(codes: RangeCodes): RangeStream<S>
}
