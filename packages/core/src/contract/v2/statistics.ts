import type { HostTensor } from '../../tensor.js'

/**
 * The closed vocabulary of what can be asked about activations. Axis "channel" is the K axis of a linear layer, the input
 * channel of a convolution. Every statistic has a slow implementation in core over raw activations and a memory formula.
 */
export interface StatisticValues {
  /** Smallest and largest value, per tensor or channel. */
  readonly range: RangeStatistic
  /** max|x| per channel, `[C]` f32. */
  readonly 'absmax-per-channel': HostTensor<'float32'>
  /** mean|x| per channel, `[C]` f32. */
  readonly 'mean-abs-per-channel': HostTensor<'float32'>
  /** mean x per column of the weight, `[groups · K]` f32: what bias correction needs. */
  readonly mean: HostTensor<'float32'>
  /** Histogram of all values. */
  readonly histogram: HistogramStatistic
  /** XᵀX summed over rows, in the columns of the weight. */
  readonly gram: GramStatistic
  /**
   * X̂ᵀX: rows from the model as it now stands (X̂) and the same model with nothing decided (X), the same batches. Transforms are in
   * both: the columns are those of the weight as the host now reads it.
   */
  readonly 'cross-gram': GramStatistic
  /** The first rows themselves, `[rows, groups · K]`, at most `StatisticOptions.rows`. */
  readonly samples: HostTensor<'float32'>
}

export type StatisticName = keyof StatisticValues

/** Limits of values, one pair per tensor or one per channel. */
export interface RangeStatistic {
  readonly min: Float32Array
  readonly max: Float32Array
  /** Values seen. */
  readonly count: number
}

/** Equal-width bins over `[low, high]`; values outside never occur (the range doubles to hold them). */
export interface HistogramStatistic {
  readonly counts: Float64Array
  readonly low: number
  readonly high: number
  readonly min: number
  readonly max: number
  readonly count: number
}

/** A Gram matrix in the columns of a site's `[N, K]` weight. */
export interface GramStatistic {
  /** `[groups, K, K]` row major: a convolution with `groups` has one matrix a group, other sites have one. */
  readonly data: Float32Array | Float64Array
  readonly groups: number
  readonly size: number
  /** Rows of X that were summed (output positions for a convolution), per group. */
  readonly rows: number
}

/** What a statistic is taken of. */
export type StatisticTarget =
  /** The input of a site, seen in the columns of its weight. */
  | { readonly site: string }
  /** Any activation by the name the host gave it in `activations()` or a {@link TensorRef}. */
  | { readonly tensor: string }

export interface StatisticOptions {
  /** `range`, `histogram`: one a channel along this axis of the tensor. */
  readonly axis?: number
  /** `histogram`: number of bins, default 2048. */
  readonly bins?: number
  /**
   * `histogram`: most values of a tensor that are counted in one batch, spread evenly over it; minimum, maximum and count stay
   * those of all values. Default all. A host whose runtime cannot pick values may count all of them.
   */
  readonly sample?: number
  /** `samples`: rows to keep, default 64. */
  readonly rows?: number
}

export interface StatisticRequest<S extends StatisticName = StatisticName> {
  readonly statistic: S
  readonly target: StatisticTarget
  readonly options?: StatisticOptions
}

/** Answers, looked up by the request that asked for them. */
export interface Statistics {
  get<S extends StatisticName>(request: StatisticRequest<S>): StatisticValues[S] | undefined
}
