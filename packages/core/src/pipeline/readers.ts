import type { JobStatistics } from '../contract/v2/algorithm.js'
import type { Site } from '../contract/v2/host.js'
import type { LinAlg } from '../contract/v2/linalg.js'
import type { GramStatistic, RangeStatistic, StatisticName, StatisticValues } from '../contract/v2/statistics.js'
import { LowbitError } from '../errors.js'
import { quadraticFormSlices } from '../sensitivity/output-error.js'
import type { Slices } from '../slices/slices.js'
import type { HostTensor } from '../tensor.js'

/**
 * The sites whose inputs count for the weight that `owner` owns: every one that multiplies it. A table that is looked up and is the
 * output layer too has the inputs of the output layer; one that is only looked up has none.
 */
export function readersOf(sites: readonly Site[], owner: Site): readonly Site[] {
  return sites.filter((s) => (s.tiedTo ?? s.id) === owner.id && s.kind !== 'embedding' && s.kind !== 'stored')
}

/**
 * One set of statistics for a weight that several sites read: what the inputs of all of them, put one after the other, would have
 * given. The error of a shared weight is the sum of its readers' errors, so its Gram matrix is the sum of theirs.
 */
export function mergeStatistics(all: readonly JobStatistics[]): JobStatistics {
  const [first, ...others] = all
  if (first === undefined || others.length === 0) return first ?? {}
  const merged: { [S in StatisticName]?: StatisticValues[S] } = {}
  const values = <S extends StatisticName>(name: S): StatisticValues[S][] => all.flatMap((s): StatisticValues[S][] => (s[name] === undefined ? [] : [s[name] as StatisticValues[S]]))
  for (const name of ['gram', 'cross-gram'] as const) if (first[name] !== undefined) merged[name] = sumOfGrams(values(name))
  if (first.range !== undefined) merged.range = values('range').reduce(widest)
  for (const name of ['absmax-per-channel'] as const) if (first[name] !== undefined) merged[name] = values(name).reduce((a, b) => zip(a, b, Math.max))
  // How many rows each reader has is not said: means count alike.
  for (const name of ['mean', 'mean-abs-per-channel'] as const) {
    if (first[name] === undefined) continue
    const sum = values(name).reduce((a, b) => zip(a, b, (x, y) => x + y))
    merged[name] = { ...sum, data: sum.data.map((v) => v / all.length) }
  }
  if (first.samples !== undefined) merged.samples = joined(values('samples'))
  if (first.histogram !== undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'histogram of a shared weight’s inputs', found: `${all.length} readers`, expected: 'one', fix: 'ask for a histogram a tensor' })
  return merged
}

/**
 * The statistics of a weight that is looked up as well: a lookup gives a row as it is, whatever the inputs of the products are, so
 * that errors the products never see must not pile up. The sum of both relative errors, `tr(Δ G Δᵀ) / tr(W G Wᵀ) + ‖Δ‖² / ‖W‖²`, is
 * that of one Gram matrix, `G + I · tr(W G Wᵀ) / ‖W‖²`.
 * @param weight - `[rows, K]`
 */
export function* withLookups(statistics: JobStatistics, weight: HostTensor<'float32'>, linalg: LinAlg): Slices<JobStatistics> {
  const { gram } = statistics
  if (gram === undefined) return statistics
  let power = 0
  for (const w of weight.data) power += w * w
  if (power === 0) return statistics
  const each = (yield* quadraticFormSlices(Float64Array.from(weight.data), weight.shape[0], gram, linalg)) / power
  const data = Float64Array.from(gram.data)
  for (let i = 0; i < data.length; i += gram.size + 1) data[i] += each
  return { ...statistics, gram: { ...gram, data } }
}

function sumOfGrams(grams: readonly GramStatistic[]): GramStatistic {
  const [first, ...others] = grams
  const data = Float64Array.from(first.data)
  for (const other of others) for (let i = 0; i < data.length; i++) data[i] += other.data[i]
  return { ...first, data, rows: grams.reduce((sum, g) => sum + g.rows, 0) }
}

function widest(a: RangeStatistic, b: RangeStatistic): RangeStatistic {
  return { min: a.min.map((v, i) => Math.min(v, b.min[i])), max: a.max.map((v, i) => Math.max(v, b.max[i])), count: a.count + b.count }
}

function zip(a: HostTensor<'float32'>, b: HostTensor<'float32'>, f: (x: number, y: number) => number): HostTensor<'float32'> {
  return { ...a, data: a.data.map((v, i) => f(v, b.data[i])) }
}

/** Rows of all, in turn, as many as the first has: every reader is among them. */
function joined(samples: readonly HostTensor<'float32'>[]): HostTensor<'float32'> {
  const [{ shape: [rows, width] }] = samples
  const data = new Float32Array(rows * width)
  for (let r = 0; r < rows; r++) {
    const from = samples[r % samples.length]
    const row = Math.floor(r / samples.length) % Math.max(1, from.shape[0])
    data.set(from.data.subarray(row * width, (row + 1) * width), r * width)
  }
  return { dtype: 'float32', shape: [rows, width], data }
}
