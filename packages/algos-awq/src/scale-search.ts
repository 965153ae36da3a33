import { channelsOfRow, dequantizeSlices, inSlices, rowErrorSlices, scaleColumnSlices, throwIfAborted, wholly, type GramStatistic, type LinAlg, type RoundingAlgorithm, type SiteFacts, type HostTensor, type Scheme, type Slices } from '@lowbit/core'
import { groupSizeOf } from './groups.js'

/** What stands for the size of a weight channel in the scale. */
export type WeightStat = 'mean' | 'group-normalized' | 'none'

/** A site of the fold group: everything the search knows of it. */
export type AwqSite = SiteFacts & { readonly tensor: HostTensor<'float32'>; readonly scheme: Scheme }

export interface ScaleSearchOptions {
  readonly grid: number
  readonly weightStat: WeightStat
  /** Rounds the candidates. */
  readonly rounding: RoundingAlgorithm
}

/** One candidate. */
export interface ScaleCandidate {
  readonly alpha: number
  readonly scales: Float32Array<ArrayBuffer>
  /** Squared output error, summed over rows, output channels and sites. */
  readonly loss: number
}

export interface ScaleSearch {
  readonly candidates: readonly ScaleCandidate[]
  /** Loss without scales. */
  readonly identity: number
  readonly best: ScaleCandidate | undefined
}

export interface SearchContext {
  readonly gram: GramStatistic
  readonly linalg: LinAlg
  readonly seed: number
  readonly signal: AbortSignal | undefined
}

/** Elements between two cuts. */
const PIECE = 2 ** 17

const EPSILON = 1e-4
const FLOOR = 1e-4

/**
 * AWQ's scale search (Lin et al. 2023, equations 4 and 5): `s = mean|x|^α / (m_w^(1−α) + 1e-4)`, floored at 1e-4, divided by
 * `sqrt(max·min)`. The loss is the output error of all sites together, from the Gram matrix alone.
 * No scale at all is one more candidate: without a weight statistic it is on the grid (α = 0), with one it is not, and the peers
 * that leave it out can end worse than rounding.
 */
export async function searchScales(sites: readonly AwqSite[], meanAbs: ArrayLike<number>, options: ScaleSearchOptions, context: SearchContext): Promise<ScaleSearch> {
  const channels = meanAbs.length
  const weightMean = options.weightStat === 'none' ? undefined : await inSlices(weightMeanSlices(sites, channels, options.weightStat), context.signal, 'AWQ')
  const identity = await lossOf(sites, new Float32Array(channels).fill(1), options.rounding, context)
  const candidates: ScaleCandidate[] = []
  let best: ScaleCandidate | undefined
  for (let i = 0; i < options.grid; i++) {
    throwIfAborted(context.signal, 'AWQ')
    const alpha = i / options.grid
    const scales = awqScales(meanAbs, weightMean, alpha)
    const candidate = { alpha, scales, loss: await lossOf(sites, scales, options.rounding, context) }
    candidates.push(candidate)
    if (candidate.loss < (best?.loss ?? identity)) best = candidate
  }
  return { candidates, identity, best }
}

/** The scale for one α. */
export function awqScales(meanAbs: ArrayLike<number>, weightMean: Float64Array | undefined, alpha: number): Float32Array<ArrayBuffer> {
  const raw = Float64Array.from({ length: meanAbs.length }, (_, j) => Math.max(meanAbs[j] ** alpha / (weightMean === undefined ? 1 : weightMean[j] ** (1 - alpha) + EPSILON), FLOOR))
  const norm = Math.sqrt(raw.reduce((a, b) => Math.max(a, b)) * raw.reduce((a, b) => Math.min(a, b)))
  return Float32Array.from(raw, (s) => s / norm)
}

/** Mean over all rows of all sites of |w| a channel, as it is or over the largest of its group. */
export function weightMeans(sites: readonly AwqSite[], channels: number, stat: 'mean' | 'group-normalized'): Float64Array {
  return wholly(weightMeanSlices(sites, channels, stat))
}

function* weightMeanSlices(sites: readonly AwqSite[], channels: number, stat: 'mean' | 'group-normalized'): Slices<Float64Array> {
  const sums = new Float64Array(channels)
  const counts = new Float64Array(channels)
  for (const { weight, tensor, scheme } of sites) {
    const { rows, columns } = weight
    const size = groupSizeOf(scheme, columns)
    const perCut = Math.ceil(PIECE / columns)
    for (let n = 0; n < rows; n++) {
      const channel = channelsOfRow(weight, n)
      for (let from = 0; from < columns; from += size) {
        const group = tensor.data.subarray(n * columns + from, n * columns + Math.min(from + size, columns))
        const divisor = stat === 'mean' ? 1 : group.reduce((m, w) => Math.max(m, Math.abs(w)), 0) + 1e-6
        for (let k = 0; k < group.length; k++) {
          const c = channel(from + k)
          sums[c] += Math.abs(group[k]) / divisor
          counts[c]++
        }
      }
      if (n % perCut === perCut - 1) yield
    }
  }
  return sums.map((s, c) => s / Math.max(1, counts[c]))
}

/** Squared output error of all sites together after scaling and rounding. */
export async function lossOf(sites: readonly AwqSite[], scales: Float32Array, rounding: RoundingAlgorithm, context: SearchContext): Promise<number> {
  const inverse = scales.map((s) => 1 / s)
  const cut = <T>(slices: Slices<T>): Promise<T> => inSlices(slices, context.signal, 'AWQ')
  let total = 0
  for (const site of sites) {
    const { weight, tensor } = site
    const scaled = await cut(scaleColumnSlices(tensor.data, weight, scales))
    const values = await roundedBy(rounding, site, scaled, await cut(scaledGram(context.gram, site, scales)), context)
    const back = await cut(scaleColumnSlices(values, weight, inverse))
    // Sums of the rows one after the other, whatever the cuts.
    total += (await cut(rowErrorSlices(tensor.data, back, weight.rows, context.gram, context.linalg))).reduce((a, b) => a + b, 0)
  }
  return total
}

/** A weight of a site, rounded and dequantized. */
export async function roundedBy(rounding: RoundingAlgorithm, site: AwqSite, data: Float32Array<ArrayBuffer>, gram: GramStatistic, { linalg, seed, signal }: SearchContext): Promise<Float32Array> {
  const job = { site, weight: { ...site.tensor, data }, scheme: site.scheme, statistics: { gram }, linalg, seed, ...(signal === undefined ? {} : { signal }) }
  return (await inSlices(dequantizeSlices((await rounding.round(job)).q), signal, 'AWQ')).data
}

/** The Gram matrix of the input divided by `scales`. */
export function* scaledGram(gram: GramStatistic, { weight }: Pick<AwqSite, 'weight'>, scales: Float32Array): Slices<GramStatistic> {
  const { size: k, groups } = gram
  const data = new Float64Array(gram.data.length)
  const perCut = Math.ceil(PIECE / k)
  for (let g = 0; g < groups; g++) {
    const channel = channelsOfRow(weight, (g * weight.rows) / groups)
    for (let i = 0; i < k; i++) {
      for (let j = 0; j < k; j++) data[(g * k + i) * k + j] = gram.data[(g * k + i) * k + j] / (scales[channel(i)] * scales[channel(j)])
      if (i % perCut === perCut - 1) yield
    }
  }
  return { ...gram, data }
}
