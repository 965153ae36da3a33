import type { Site } from '../contract/v2/host.js'
import type { StatisticName, StatisticValues } from '../contract/v2/statistics.js'
import type { HostTensor } from '../tensor.js'
import { check } from './runner.js'

/**
 * Compares a statistic with the same figure computed from the activation rows themselves, `[rows, groups · K]`.
 * Sums are compared within 1e-3 of their largest value: runtimes add in another order and in single precision.
 */
export function closeStatistic(name: StatisticName, value: StatisticValues[StatisticName], rows: HostTensor<'float32'>, site: Site): void {
  const x = rows.data
  const width = rows.shape[1]
  const count = rows.shape[0]
  const fail = (got: number, want: number, where: string): void => {
    check(false, `${site.id}: ${name} ${where} is ${got}, the activations say ${want}`)
  }
  if ('groups' in value) {
    const { data, size, groups } = value
    check(value.rows === count, `${site.id}: ${name} counts ${value.rows} rows, the activations have ${count}`)
    let largest = 0
    for (const v of data) largest = Math.max(largest, Math.abs(v))
    for (let g = 0; g < groups; g++) {
      for (let i = 0; i < size; i++) {
        for (let j = 0; j < size; j++) {
          let want = 0
          for (let r = 0; r < count; r++) want += x[r * width + g * size + i] * x[r * width + g * size + j]
          const got = data[(g * size + i) * size + j]
          if (!(Math.abs(got - want) <= 1e-3 * largest)) fail(got, want, `[${g}, ${i}, ${j}]`)
        }
      }
    }
    return
  }
  if (name === 'range' && 'min' in value && value.min instanceof Float32Array && value.max instanceof Float32Array) {
    const min = x.reduce((m, v) => Math.min(m, v), Infinity)
    const max = x.reduce((m, v) => Math.max(m, v), -Infinity)
    // Convolution columns hold the padding's zeros as well, which the tensor itself does not.
    const padded = site.kind === 'conv'
    if (padded ? value.min[0] < min || value.max[0] > max : value.min[0] !== min || value.max[0] !== max) fail(value.min[0], min, 'minimum or maximum')
    return
  }
  if (!('data' in value)) return
  const perChannel = name === 'absmax-per-channel' || name === 'mean-abs-per-channel'
  if (perChannel && site.weight.columnsPerChannel > 1) return
  check(value.data.length === width, `${site.id}: ${name} has ${value.data.length} values for ${width} columns`)
  for (let c = 0; c < width; c++) {
    let sum = 0
    let largest = 0
    for (let r = 0; r < count; r++) {
      sum += name === 'mean' ? x[r * width + c] : Math.abs(x[r * width + c])
      largest = Math.max(largest, Math.abs(x[r * width + c]))
    }
    const want = name === 'absmax-per-channel' ? largest : sum / count
    const got = Number(value.data[c])
    if (!(Math.abs(got - want) <= 1e-4 * Math.max(largest, 1e-6))) fail(got, want, `[${c}]`)
  }
}
