import { HistogramObserver, LowbitError, nonFiniteActivation, requireFiniteActivations, ShardedSum, tensor, type StatisticRequest, type StatisticValues } from '@lowbit/core'
import type { LayerSite } from '../layers/layer-site.js'
import type { Tensor, TfCore } from '../tf.js'
import { inputColumns } from './columns.js'

/** Collects one statistic, a batch at a time, in memory that does not grow with the data. */
export interface Accumulator {
  /**
   * @param other the same activation in the other model, for `cross-gram`
   * @throws LOWBIT_NONFINITE for NaN or infinity
   */
  add(x: Tensor, other?: Tensor): void
  value(): StatisticValues[keyof StatisticValues] | undefined
}

/**
 * Reductions run in tfjs; only results move.
 * @param site where the statistic is of a site's input; a plain tensor has no columns.
 * @throws LOWBIT_ARGUMENT for a statistic of weight columns that was asked of a tensor.
 */
export function accumulator(tf: TfCore, request: StatisticRequest, site: LayerSite | undefined): Accumulator {
  const { statistic, target, options = {} } = request
  const thing = 'site' in target ? `input of site '${target.site}'` : `activation '${target.tensor}'`
  const columns = (x: Tensor): Tensor => {
    if (site === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: `statistic ${statistic}`, found: 'asked of a tensor', expected: 'a site, whose weight gives it columns' })
    return inputColumns(tf, site, x)
  }
  switch (statistic) {
    case 'range':
      return rangeOf(tf, options.axis, thing)
    case 'absmax-per-channel':
      return largest(tf, thing)
    case 'mean-abs-per-channel':
      return meanOf((x) => tf.sum(tf.abs(x), 0), (x) => toChannels(tf, x), thing)
    case 'mean':
      return meanOf((x) => tf.sum(x, 0), columns, thing)
    case 'histogram': {
      let seen = false
      const histogram = new HistogramObserver({ thing, ...(options.bins === undefined ? {} : { bins: options.bins + (options.bins % 2) }) })
      return {
        add(x) {
          seen ||= x.size > 0
          histogram.observe(tensor('float32', x.shape, Float32Array.from(x.dataSync<'float32'>())))
        },
        value: () => (seen ? histogram.result() : undefined),
      }
    }
    case 'samples':
      return samplesOf(tf, columns, options.rows ?? 64, thing)
    case 'gram':
    case 'cross-gram':
      return gramOf(tf, columns, site, statistic === 'cross-gram', thing)
  }
}

function toChannels(tf: TfCore, x: Tensor): Tensor {
  return tf.reshape(x, [-1, x.shape[x.shape.length - 1]])
}

function rangeOf(tf: TfCore, axis: number | undefined, thing: string): Accumulator {
  let min: Float32Array | undefined
  let max: Float32Array | undefined
  let count = 0
  return {
    add(x) {
      if (x.size === 0) return
      const others = axis === undefined ? undefined : x.shape.map((_, i) => i).filter((i) => i !== (axis < 0 ? axis + x.shape.length : axis))
      requireFinite(tf, x, thing)
      const low = tf.min(x, others).dataSync<'float32'>()
      const high = tf.max(x, others).dataSync<'float32'>()
      const before = { min, max }
      min = Float32Array.from(low, (v, i) => Math.min(v, before.min?.[i] ?? Infinity))
      max = Float32Array.from(high, (v, i) => Math.max(v, before.max?.[i] ?? -Infinity))
      count += x.size
    },
    value: () => (min === undefined || max === undefined ? undefined : { min, max, count }),
  }
}

/** A minimum or a maximum may pass over NaN, and reductions differ in that from backend to backend: a sum of `x − x` is 0 or shows it. */
function requireFinite(tf: TfCore, x: Tensor, thing: string): void {
  const [sum] = tf.sum(tf.sub(x, x)).dataSync<'float32'>()
  if (sum === 0) return
  const values = x.dataSync<'float32'>()
  const at = values.findIndex((v) => !Number.isFinite(v))
  throw nonFiniteActivation(thing, values[at], at)
}

/** max|x| per channel. */
function largest(tf: TfCore, thing: string): Accumulator {
  let most: Float32Array<ArrayBuffer> | undefined
  return {
    add(x) {
      if (x.size === 0) return
      requireFinite(tf, x, thing)
      const part = tf.max(tf.abs(toChannels(tf, x)), 0).dataSync<'float32'>()
      const before = most
      most = Float32Array.from(part, (v, i) => Math.max(v, before?.[i] ?? 0))
    },
    value: () => (most === undefined ? undefined : tensor('float32', [most.length], most)),
  }
}

/** A mean per channel: sums of batches in fixed shards. */
function meanOf(reduce: (x: Tensor) => Tensor, rows: (x: Tensor) => Tensor, thing: string): Accumulator {
  let sum: ShardedSum | undefined
  let count = 0
  return {
    add(x) {
      const matrix = rows(x)
      count += matrix.shape[0] ?? 0
      const part = reduce(matrix).dataSync<'float32'>()
      requireFiniteActivations(Float32Array.from(part), thing)
      sum ??= new ShardedSum(part.length)
      const total = sum.next()
      for (let i = 0; i < part.length; i++) total[i] += part[i]
    },
    value: () => (sum === undefined ? undefined : tensor('float32', [sum.length], Float32Array.from(sum.result(), (v) => v / count))),
  }
}

function samplesOf(tf: TfCore, columns: (x: Tensor) => Tensor, limit: number, thing: string): Accumulator {
  const parts: Float32Array[] = []
  let rows = 0
  let width = 0
  return {
    add(x) {
      if (rows >= limit) return
      const matrix = columns(x)
      const [height = 0, wide = 0] = matrix.shape
      width = wide
      const take = Math.min(limit - rows, height)
      const part = Float32Array.from(tf.slice(matrix, [0, 0], [take, width]).dataSync<'float32'>())
      requireFiniteActivations(part, thing)
      parts.push(part)
      rows += take
    },
    value() {
      if (rows === 0) return undefined
      const data = new Float32Array(rows * width)
      let at = 0
      for (const part of parts) {
        data.set(part, at)
        at += part.length
      }
      return tensor('float32', [rows, width], data)
    },
  }
}

function gramOf(tf: TfCore, columns: (x: Tensor) => Tensor, site: LayerSite | undefined, cross: boolean, thing: string): Accumulator {
  let sum: ShardedSum | undefined
  let rows = 0
  const groups = site?.groups ?? 1
  const stacked = (x: Tensor): Tensor => {
    const matrix = columns(x)
    return tf.transpose(tf.reshape(matrix, [-1, groups, site?.columns ?? 1]), [1, 0, 2])
  }
  return {
    add(x, other) {
      if (cross && other === undefined) return
      const left = stacked(x)
      rows += left.shape[1] ?? 0
      const part = tf.matMul(left, cross && other !== undefined ? stacked(other) : left, true, false).dataSync<'float32'>()
      requireFiniteActivations(part instanceof Float32Array ? part : Float32Array.from(part), thing)
      sum ??= new ShardedSum(part.length)
      const total = sum.next()
      for (let i = 0; i < part.length; i++) total[i] += part[i]
    },
    value: () => (sum === undefined ? undefined : { data: sum.result(), groups, size: Math.sqrt(sum.length / groups), rows }),
  }
}
