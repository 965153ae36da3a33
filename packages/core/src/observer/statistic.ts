import type { LinAlg } from '../contract/v2/linalg.js'
import type { GramStatistic, StatisticName, StatisticOptions, StatisticValues } from '../contract/v2/statistics.js'
import { LowbitError } from '../errors.js'
import { fastLinAlg } from '../linalg/fast.js'
import type { HostTensor } from '../tensor.js'
import { HistogramObserver } from './histogram.js'
import { MinMaxObserver } from './min-max.js'
import { channelSpan, nothingSeen, requireFiniteActivations, type Observer } from './observer.js'
import { ShardedSum } from './shards.js'
import { unfoldConvolution, type UnfoldOptions } from './unfold.js'

/** How a site's input becomes rows in the columns of its weight. */
export type ActivationView =
  /** The last axis is K; all others together are rows. */
  | { readonly kind: 'linear' }
  /** Rows are output positions, see {@link unfoldConvolution}. */
  | ({ readonly kind: 'conv'; readonly groups: number } & UnfoldOptions)

export interface StatisticObserverOptions extends StatisticOptions {
  /** For Gram matrices. Default: core's fast one. */
  readonly linalg?: LinAlg
  /** What is observed, for errors. */
  readonly thing?: string
}

/** A statistic over raw activations. `cross-gram` wants the same batch of the original model beside that of the present one. */
export interface StatisticObserver<S extends StatisticName> {
  /** @throws LOWBIT_NONFINITE, LOWBIT_SHAPE */
  observe(x: HostTensor<'float32'>, original?: HostTensor<'float32'>): void
  /** @throws LOWBIT_CALIBRATION if nothing was seen */
  result(): StatisticValues[S]
}

type Factories = { readonly [S in StatisticName]: (view: ActivationView, options: StatisticObserverOptions) => StatisticObserver<S> }

const factories: Factories = {
  range: (_view, options) => plain(new MinMaxObserver(options)),
  histogram: (_view, options) => plain(new HistogramObserver(options)),
  'absmax-per-channel': largestMagnitudes,
  'mean-abs-per-channel': meanMagnitudes,
  mean: columnMean,
  samples,
  gram,
  'cross-gram': crossGram,
}

/**
 * Every statistic of the contract, computed slowly over raw activations: for hosts whose runtime cannot, and as the truth for those that
 * can. Memory: `statisticCost` and one chunk of unfolded rows, whatever the number of batches.
 */
export function statisticObserver<S extends StatisticName>(statistic: S, view: ActivationView, options: StatisticObserverOptions = {}): StatisticObserver<S> {
  return factories[statistic](view, options)
}

function plain<S extends 'range' | 'histogram'>(observer: Observer<StatisticValues[S]>): StatisticObserver<S> {
  return { observe: (x) => observer.observe(x), result: () => observer.result() }
}

/** Rows of a batch in the columns of the weight, chunk by chunk. */
function eachRows(view: ActivationView, x: HostTensor<'float32'>, visit: (rows: Float32Array, count: number, width: number) => void): void {
  if (view.kind === 'linear') {
    const width = x.shape[x.shape.length - 1] ?? 0
    if (x.data.length > 0) visit(x.data, x.data.length / width, width)
    return
  }
  unfoldConvolution(x, view, (rows, count) => visit(rows, count, rows.length / count))
}

const named = (options: StatisticObserverOptions): string => options.thing ?? 'activations'

function sameWidth(before: number, width: number, thing: string): void {
  if (before !== 0 && before !== width) throw new LowbitError('LOWBIT_SHAPE', { thing, found: `${width} columns in this batch`, expected: `${before}, as before` })
}

interface ChannelObserver {
  observe(x: HostTensor<'float32'>): void
  result(): HostTensor<'float32'>
}

/** Shows each value with its channel. */
function eachMagnitude(view: ActivationView, options: StatisticObserverOptions, x: HostTensor<'float32'>, start: (channels: number) => (channel: number, magnitude: number) => void): number {
  requireFiniteActivations(x.data, named(options))
  const axis = view.kind === 'linear' || view.channelsLast ? x.shape.length - 1 : 1
  const { channels, inner } = channelSpan(x.shape, axis, named(options))
  const see = start(channels)
  for (let i = 0; i < x.data.length; i++) see(Math.floor(i / inner) % channels, Math.abs(x.data[i] as number))
  return channels
}

function largestMagnitudes(view: ActivationView, options: StatisticObserverOptions): ChannelObserver {
  let most = new Float64Array(0)
  return {
    observe(x) {
      if (x.data.length === 0) return
      eachMagnitude(view, options, x, (channels) => {
        sameWidth(most.length, channels, named(options))
        if (most.length === 0) most = new Float64Array(channels)
        return (channel, magnitude) => (most[channel] = Math.max(most[channel] as number, magnitude))
      })
    },
    result() {
      if (most.length === 0) throw nothingSeen(named(options))
      return { dtype: 'float32', shape: [most.length], data: Float32Array.from(most) }
    },
  }
}

function meanMagnitudes(view: ActivationView, options: StatisticObserverOptions): ChannelObserver {
  let sums: ShardedSum | undefined
  let count = 0
  return {
    observe(x) {
      if (x.data.length === 0) return
      const channels = eachMagnitude(view, options, x, (width) => {
        sameWidth(sums?.length ?? 0, width, named(options))
        const shard = (sums ??= new ShardedSum(width)).next()
        return (channel, magnitude) => (shard[channel] = (shard[channel] as number) + magnitude)
      })
      count += x.data.length / channels
    },
    result() {
      if (sums === undefined) throw nothingSeen(named(options))
      const total = sums.result()
      return { dtype: 'float32', shape: [total.length], data: Float32Array.from(total, (sum) => sum / count) }
    },
  }
}

function columnMean(view: ActivationView, options: StatisticObserverOptions): StatisticObserver<'mean'> {
  let sums: ShardedSum | undefined
  let total = 0
  return {
    observe(x) {
      requireFiniteActivations(x.data, named(options))
      let shard: Float64Array | undefined
      eachRows(view, x, (rows, count, width) => {
        sameWidth(sums?.length ?? 0, width, named(options))
        sums ??= new ShardedSum(width)
        const sum = (shard ??= sums.next())
        for (let i = 0; i < rows.length; i++) sum[i % width] = (sum[i % width] as number) + (rows[i] as number)
        total += count
      })
    },
    result() {
      if (sums === undefined || total === 0) throw nothingSeen(named(options))
      const summed = sums.result()
      return { dtype: 'float32', shape: [summed.length], data: Float32Array.from(summed, (sum) => sum / total) }
    },
  }
}

function samples(view: ActivationView, options: StatisticObserverOptions): StatisticObserver<'samples'> {
  const wanted = options.rows ?? 64
  const kept: Float32Array[] = []
  let width = 0
  return {
    observe(x) {
      if (kept.length >= wanted) return
      requireFiniteActivations(x.data, named(options))
      eachRows(view, x, (rows, count, columns) => {
        sameWidth(width, columns, named(options))
        width = columns
        for (let r = 0; r < count && kept.length < wanted; r++) kept.push(rows.slice(r * width, (r + 1) * width))
      })
    },
    result() {
      if (kept.length === 0) throw nothingSeen(named(options))
      const data = new Float32Array(kept.length * width)
      kept.forEach((row, r) => data.set(row, r * width))
      return { dtype: 'float32', shape: [kept.length, width], data }
    },
  }
}

/** Columns of one group of a grouped convolution, rows made dense. */
function groupRows(rows: Float32Array, count: number, width: number, group: number, groups: number): Float32Array {
  if (groups === 1) return rows
  const k = width / groups
  const out = new Float32Array(count * k)
  for (let r = 0; r < count; r++) out.set(rows.subarray(r * width + group * k, r * width + (group + 1) * k), r * k)
  return out
}

/** One sum a group, and the parts of them that the present batch is added to. */
class GroupSums {
  readonly groups: number
  size = 0
  rows = 0
  #sums: readonly ShardedSum[] = []
  #shards: readonly Float64Array[] | undefined

  constructor(view: ActivationView) {
    this.groups = view.kind === 'conv' ? view.groups : 1
  }

  /** Called before the rows of each batch. */
  begin(): void {
    this.#shards = undefined
  }

  add(width: number, count: number, thing: string, add: (group: number, sum: Float64Array) => void): void {
    sameWidth(this.size * this.groups, width, thing)
    this.size = width / this.groups
    if (this.#sums.length === 0) this.#sums = Array.from({ length: this.groups }, () => new ShardedSum(this.size * this.size))
    this.#shards ??= this.#sums.map((sum) => sum.next())
    for (const [group, shard] of this.#shards.entries()) add(group, shard)
    this.rows += count
  }

  result(thing: string): GramStatistic {
    const { groups, size, rows } = this
    if (rows === 0) throw nothingSeen(thing)
    const data = new Float64Array(groups * size * size)
    this.#sums.forEach((sum, group) => data.set(sum.result(), group * size * size))
    return { data, groups, size, rows }
  }
}

function gram(view: ActivationView, options: StatisticObserverOptions): StatisticObserver<'gram'> {
  const linalg = options.linalg ?? fastLinAlg
  const sums = new GroupSums(view)
  return {
    observe(x) {
      requireFiniteActivations(x.data, named(options))
      sums.begin()
      eachRows(view, x, (rows, count, width) => {
        sums.add(width, count, named(options), (group, sum) => linalg.addGram(groupRows(rows, count, width, group, sums.groups), count, sums.size, sum))
      })
    },
    result: () => sums.result(named(options)),
  }
}

function crossGram(view: ActivationView, options: StatisticObserverOptions): StatisticObserver<'cross-gram'> {
  const sums = new GroupSums(view)
  return {
    observe(x, original) {
      if (original === undefined || original.data.length !== x.data.length) {
        throw new LowbitError('LOWBIT_SHAPE', { thing: named(options), found: original === undefined ? 'one batch' : `batches of ${x.data.length} and ${original.data.length} values`, expected: 'the same batch from the present and the original model' })
      }
      requireFiniteActivations(x.data, named(options))
      requireFiniteActivations(original.data, named(options))
      sums.begin()
      // Chunks of both batches have the same sizes, but the array is reused: the first batch's rows are kept aside.
      const chunks: Float32Array[] = []
      eachRows(view, x, (rows) => chunks.push(rows.slice()))
      let chunk = 0
      eachRows(view, original, (rows, count, width) => {
        const present = chunks[chunk++] ?? rows
        sums.add(width, count, named(options), (group, sum) => addProduct(groupRows(present, count, width, group, sums.groups), groupRows(rows, count, width, group, sums.groups), count, sums.size, sum))
      })
    },
    result: () => sums.result(named(options)),
  }
}

/** `out += AᵀB`. */
function addProduct(a: Float32Array, b: Float32Array, rows: number, n: number, out: Float64Array): void {
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < n; i++) {
      const value = a[r * n + i] as number
      if (value === 0) continue
      for (let j = 0; j < n; j++) out[i * n + j] = (out[i * n + j] as number) + value * (b[r * n + j] as number)
    }
  }
}
