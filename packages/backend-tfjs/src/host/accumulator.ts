import { LowbitError, tensor, type StatisticRequest, type StatisticValues } from '@lowbit/core'
import type { LayerSite } from '../layers/layer-site.js'
import type { Tensor, TfCore } from '../tf.js'
import { inputColumns } from './columns.js'
import { Histogram } from './histogram.js'

/** Collects one statistic, a batch at a time, in memory that does not grow with the data. */
export interface Accumulator {
  /** @param other the same activation in the other model, for `cross-gram` */
  add(x: Tensor, other?: Tensor): void
  value(): StatisticValues[keyof StatisticValues] | undefined
}

/**
 * Reductions run in tfjs; only results move.
 * @param site where the statistic is of a site's input; a plain tensor has no columns.
 * @throws LOWBIT_ARGUMENT for a statistic of weight columns that was asked of a tensor.
 */
export function accumulator(tf: TfCore, request: StatisticRequest, site: LayerSite | undefined): Accumulator {
  const { statistic, options = {} } = request
  const columns = (x: Tensor): Tensor => {
    if (site === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: `statistic ${statistic}`, found: 'asked of a tensor', expected: 'a site, whose weight gives it columns' })
    return inputColumns(tf, site, x)
  }
  switch (statistic) {
    case 'range':
      return rangeOf(tf, options.axis)
    case 'absmax-per-channel':
      return perChannel((x) => tf.max(tf.abs(x), 0), (total, part) => Math.max(total, part), (x) => toChannels(tf, x))
    case 'mean-abs-per-channel':
      return perChannel((x) => tf.sum(tf.abs(x), 0), (total, part) => total + part, (x) => toChannels(tf, x), true)
    case 'mean':
      return perChannel((x) => tf.sum(x, 0), (total, part) => total + part, columns, true)
    case 'histogram': {
      const histogram = new Histogram(options.bins ?? 2048)
      return { add: (x) => histogram.add(x.dataSync<'float32'>()), value: () => histogram.value() }
    }
    case 'samples':
      return samplesOf(tf, columns, options.rows ?? 64)
    case 'gram':
    case 'cross-gram':
      return gramOf(tf, columns, site, statistic === 'cross-gram')
  }
}

function toChannels(tf: TfCore, x: Tensor): Tensor {
  return tf.reshape(x, [-1, x.shape[x.shape.length - 1]])
}

function rangeOf(tf: TfCore, axis: number | undefined): Accumulator {
  let min: Float32Array | undefined
  let max: Float32Array | undefined
  let count = 0
  return {
    add(x) {
      const others = axis === undefined ? undefined : x.shape.map((_, i) => i).filter((i) => i !== (axis < 0 ? axis + x.shape.length : axis))
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

function perChannel(reduce: (x: Tensor) => Tensor, merge: (total: number, part: number) => number, rows: (x: Tensor) => Tensor, divide = false): Accumulator {
  let total: Float64Array | undefined
  let count = 0
  return {
    add(x) {
      const matrix = rows(x)
      count += matrix.shape[0] ?? 0
      const part = reduce(matrix).dataSync<'float32'>()
      total ??= new Float64Array(part.length)
      for (let i = 0; i < part.length; i++) total[i] = merge(total[i], part[i])
    },
    value: () => (total === undefined ? undefined : tensor('float32', [total.length], Float32Array.from(total, (v) => (divide ? v / count : v)))),
  }
}

function samplesOf(tf: TfCore, columns: (x: Tensor) => Tensor, limit: number): Accumulator {
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
      parts.push(Float32Array.from(tf.slice(matrix, [0, 0], [take, width]).dataSync<'float32'>()))
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

function gramOf(tf: TfCore, columns: (x: Tensor) => Tensor, site: LayerSite | undefined, cross: boolean): Accumulator {
  let total: Float64Array | undefined
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
      total ??= new Float64Array(part.length)
      for (let i = 0; i < part.length; i++) total[i] += part[i]
    },
    value: () => (total === undefined ? undefined : { data: total, groups, size: Math.sqrt(total.length / groups), rows }),
  }
}
