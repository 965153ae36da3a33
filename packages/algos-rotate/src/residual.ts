import { LowbitError, dequantizeSlices, hadamardOrder, inSlices, largestHadamardBlock, rotateRowSlices, throwIfAborted, type Slices, type TransformJob, type TransformResult, type TransformSite } from '@lowbit/core'
import type { ResolvedRotateOptions } from './options.js'
import { randomSigns } from './signs.js'
import { spreadSlices } from './spread.js'

/**
 * Plans the rotation of a residual stream as a whole (QuaRot, Ashkboos et al. 2024, stage 1): it costs nothing at run time, so all
 * that speaks against it is that weights may round worse. What is compared is the weight error of each site over its weight,
 * before and after, as a geometric mean; before, an input channel counts by the square of the norm's gain it passes.
 */
export async function planResidual(job: TransformJob, options: ResolvedRotateOptions): Promise<TransformResult> {
  const { channels, id } = job.group
  const thing = `rotation of ${id}`
  throwIfAborted(job.signal, thing)
  const order = options.order ?? largestHadamardBlock(channels)
  if (hadamardOrder(order) === undefined || channels % order !== 0) return { transforms: [], skip: `order ${order} does not divide ${channels} channels` }
  if (order < 4) return { transforms: [], skip: `${channels} channels have no Hadamard order of at least 4 that divides them` }
  const signs = randomSigns(channels, job.seed)
  const cut = <T>(slices: Slices<T>): Promise<T> => inSlices(slices, job.signal, thing)
  const before: number[] = []
  const after: number[] = []
  let ratio = 0
  for (const site of job.sites) {
    throwIfAborted(job.signal, thing)
    if (options.rounding.needs(site.scheme).length > 0) {
      throw new LowbitError('LOWBIT_ARGUMENT', { thing: "rotate({ scope: 'residual', rounding })", found: options.rounding.name, expected: 'a rounding algorithm that needs no statistics', fix: 'leave `rounding` out' })
    }
    const { gain } = site.stream ?? {}
    const plain = site.tensor.data
    const turned = await cut(turn(site, signs, order))
    before.push((await cut(spreadSlices(plain))).kurtosis)
    after.push((await cut(spreadSlices(turned))).kurtosis)
    ratio += Math.log((await errorOf(job, site, turned, undefined, options)) / (await errorOf(job, site, plain, gain, options))) / job.sites.length
  }
  const mean = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0) / Math.max(1, xs.length)
  const errorRatio = Number.isFinite(ratio) ? Math.exp(ratio) : 1
  const notes = { order, sites: job.sites.length, kurtosisBefore: mean(before), kurtosisAfter: mean(after), errorRatio }
  if (options.accept === 'better' && !(errorRatio < 1 - options.minimumGain)) {
    return { transforms: [], skip: `rotating would change the weight error by a factor of ${errorRatio.toPrecision(3)}`, notes }
  }
  return { transforms: [{ kind: 'rotate', signs, order }], notes }
}

/** The weight of a site once the stream is turned. */
function* turn({ tensor, weight, kind, stream }: TransformSite, signs: Int8Array, order: number): Slices<Float32Array<ArrayBuffer>> {
  const { rows, columns } = weight
  const gain = stream?.gain
  if (kind === 'embedding' || stream?.role !== 'writes') {
    const turned = tensor.data.map((w, i) => w * (gain?.[i % columns] ?? 1))
    yield
    yield* rotateRowSlices(turned, signs, order)
    return turned
  }
  const outputs = tensor.data.map((_, i) => tensor.data[(i % rows) * columns + Math.floor(i / rows)])
  yield
  yield* rotateRowSlices(outputs, signs, order)
  return outputs.map((_, i) => outputs[(i % columns) * rows + Math.floor(i / columns)])
}

/** Squared weight error, input channels weighted by the square of their gain. */
async function errorOf(job: TransformJob, site: TransformSite, data: Float32Array<ArrayBuffer>, gain: Float32Array | undefined, options: ResolvedRotateOptions): Promise<number> {
  const { q } = await options.rounding.round({ site, weight: { ...site.tensor, data }, scheme: site.scheme, statistics: {}, linalg: job.linalg, seed: job.seed, ...(job.signal === undefined ? {} : { signal: job.signal }) })
  const { columns } = site.weight
  return (await inSlices(dequantizeSlices(q), job.signal, `rotation of ${site.id}`)).data.reduce((sum, v, i) => sum + ((v - data[i]) * (gain?.[i % columns] ?? 1)) ** 2, 0)
}
