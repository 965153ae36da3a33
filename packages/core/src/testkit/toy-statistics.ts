import type { StatisticName, StatisticOptions, StatisticValues } from '../contract/v2/statistics.js'
import { tensor, type HostTensor } from '../tensor.js'
import type { ToySite, ToyTensor } from './toy-model.js'

/** Everything a site's input or a tensor showed over all batches: the toy host keeps it all and computes at the end. */
export class ToyRecord {
  /** The tensor as it is; channels are axis 1. */
  readonly whole: ToyTensor[] = []
  /** Rows in the columns of the weight, `[R, groups · K]`; absent for plain tensors. */
  readonly rows: ToyTensor[] = []
}

/** Statistics by their definitions, from all values at once. `other` holds the rows of the original model for `cross-gram`. */
export function toyStatistic(name: StatisticName, record: ToyRecord, other: ToyRecord | undefined, site: ToySite | undefined, options: StatisticOptions): StatisticValues[StatisticName] | undefined {
  const rows = joined(record.rows)
  switch (name) {
    case 'range':
      return rangeOf(record, options.axis)
    case 'histogram':
      return histogramOf(record, options.bins ?? 2048)
    case 'absmax-per-channel':
      return perChannel(record, (values) => values.reduce((a, b) => Math.max(a, Math.abs(b)), 0))
    case 'mean-abs-per-channel':
      return perChannel(record, (values) => values.reduce((a, b) => a + Math.abs(b), 0) / values.length)
    case 'mean':
      return rows === undefined ? undefined : columnMeans(rows)
    case 'samples': {
      if (rows === undefined) return undefined
      const kept = Math.min(rows.shape[0], options.rows ?? 64)
      return tensor('float32', [kept, rows.shape[1]], rows.data.slice(0, kept * rows.shape[1]))
    }
    case 'gram':
    case 'cross-gram': {
      const right = name === 'gram' ? rows : joined(other?.rows ?? [])
      if (rows === undefined || right === undefined || site === undefined) return undefined
      return { data: product(rows, right, site), groups: site.groups, size: site.columns, rows: rows.shape[0] }
    }
  }
}

function joined(parts: readonly ToyTensor[]): ToyTensor | undefined {
  if (parts.length === 0) return undefined
  const width = parts[0].shape[1]
  const data = new Float32Array(parts.reduce((sum, p) => sum + p.data.length, 0))
  let at = 0
  for (const p of parts) {
    data.set(p.data, at)
    at += p.data.length
  }
  return { shape: [data.length / width, width], data }
}

function product(a: ToyTensor, b: ToyTensor, site: ToySite): Float64Array {
  const { groups, columns: k } = site
  const out = new Float64Array(groups * k * k)
  const width = groups * k
  for (let r = 0; r < a.shape[0]; r++) {
    for (let g = 0; g < groups; g++) {
      for (let i = 0; i < k; i++) {
        for (let j = 0; j < k; j++) out[(g * k + i) * k + j] += a.data[r * width + g * k + i] * b.data[r * width + g * k + j]
      }
    }
  }
  return out
}

function columnMeans(rows: ToyTensor): HostTensor<'float32'> {
  const [count, width] = rows.shape
  const sums = new Float64Array(width)
  for (let i = 0; i < rows.data.length; i++) sums[i % width] += rows.data[i]
  return tensor('float32', [width], Float32Array.from(sums, (s) => s / count))
}

function slices({ whole }: ToyRecord, axis: number | undefined): number[][] {
  const out: number[][] = []
  for (const { shape, data } of whole) {
    const inner = axis === undefined ? 1 : shape.slice(axis + 1).reduce((a, b) => a * b, 1)
    const size = axis === undefined ? 1 : shape[axis]
    data.forEach((v, i) => (out[Math.floor(i / inner) % size] ??= []).push(v))
  }
  return out
}

function perChannel(record: ToyRecord, value: (values: readonly number[]) => number): HostTensor<'float32'> {
  const channels = slices(record, 1)
  return tensor('float32', [channels.length], Float32Array.from(channels, value))
}

function rangeOf(record: ToyRecord, axis: number | undefined): StatisticValues['range'] {
  const parts = slices(record, axis)
  return {
    min: Float32Array.from(parts, (p) => p.reduce((a, b) => Math.min(a, b))),
    max: Float32Array.from(parts, (p) => p.reduce((a, b) => Math.max(a, b))),
    count: parts.reduce((sum, p) => sum + p.length, 0),
  }
}

function histogramOf(record: ToyRecord, bins: number): StatisticValues['histogram'] {
  const values = slices(record, undefined)[0] ?? []
  const min = values.reduce((a, b) => Math.min(a, b), Infinity)
  const max = values.reduce((a, b) => Math.max(a, b), -Infinity)
  const high = max > min ? max : min + 1
  const counts = new Float64Array(bins)
  for (const v of values) counts[Math.min(bins - 1, Math.floor(((v - min) / (high - min)) * bins))]++
  return { counts, low: min, high, min, max, count: values.length }
}
