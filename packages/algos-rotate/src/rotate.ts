import { LowbitError, dequantizeSlices, inSlices, largestHadamardBlock, rotateRowSlices, rowErrorSlices, throwIfAborted, wholly, type GramStatistic, type RoundingAlgorithm, type Slices, type TransformAlgorithm, type TransformJob, type TransformResult } from '@lowbit/core'
import { resolveRotateOptions, type ResolvedRotateOptions, type RotateOptions } from './options.js'
import { planResidual } from './residual.js'
import { randomSigns } from './signs.js'
import { spreadSlices } from './spread.js'
import { VERSION } from './version.js'

/** Fewer channels than this in a block spread nothing. */
const SMALLEST_ORDER = 4

/**
 * Randomised Hadamard rotation (QuaRot, Ashkboos et al. 2024): input and weight columns are turned alike, so that the product stays
 * and outliers are shared out. Random signs come from the job's seed. Where nothing before the input can be turned, the host adds
 * the rotation as an operator; with `scope: 'residual'` the stream between the blocks is turned, which takes no operator at all.
 * @throws LOWBIT_ARGUMENT for options out of range; the plan: LOWBIT_CALIBRATION without a Gram matrix.
 */
export function rotate(options: RotateOptions = {}): TransformAlgorithm {
  const resolved = resolveRotateOptions(options)
  const { scope, accept, minimumGain, order } = resolved
  const { rounding } = options
  return {
    kind: 'transform',
    name: '@lowbit/algos-rotate',
    version: VERSION,
    apiVersion: 2,
    scope,
    config: {
      ...(scope === 'group' ? {} : { scope }),
      accept,
      minimumGain,
      ...(order === undefined ? {} : { order }),
      ...(rounding === undefined ? {} : { rounding: { name: rounding.name, version: rounding.version, config: rounding.config } }),
    },
    needs: () => (scope === 'residual' ? [] : ['gram']),
    plan: (job) => (scope === 'residual' ? planResidual(job, resolved) : plan(job, resolved)),
  }
}

async function plan(job: TransformJob, options: ResolvedRotateOptions): Promise<TransformResult> {
  const { channels, id } = job.group
  const thing = `rotation of ${id}`
  throwIfAborted(job.signal, thing)
  if (job.group.refused?.rotate !== undefined) return { transforms: [], skip: job.group.refused.rotate }
  const { gram } = job.statistics
  if (gram === undefined) throw new LowbitError('LOWBIT_CALIBRATION', { thing, found: 'no Gram matrix of its input', expected: 'statistics.gram', fix: 'pass calibration data' })
  if (job.sites.some((s) => s.kind !== 'linear')) return { transforms: [], skip: 'only inputs of linear layers are rotated' }
  const order = options.order ?? largestHadamardBlock(channels)
  if (channels % order !== 0) return { transforms: [], skip: `order ${order} does not divide ${channels} channels` }
  if (order < SMALLEST_ORDER) return { transforms: [], skip: `${channels} channels have no Hadamard order of at least ${SMALLEST_ORDER} that divides them` }

  const signs = randomSigns(channels, job.seed)
  const cut = <T>(slices: Slices<T>): Promise<T> => inSlices(slices, job.signal, thing)
  const turnedGram = await cut(rotateGramSlices(gram, signs, order))
  let errorBefore = 0
  let errorAfter = 0
  const before: number[] = []
  const after: number[] = []
  for (const site of job.sites) {
    throwIfAborted(job.signal, thing)
    const turned = Float32Array.from(site.tensor.data)
    await cut(rotateRowSlices(turned, signs, order))
    errorBefore += await errorOf(job, site, site.tensor.data, gram, options.rounding)
    errorAfter += await errorOf(job, site, turned, turnedGram, options.rounding)
    before.push((await cut(spreadSlices(site.tensor.data))).kurtosis)
    after.push((await cut(spreadSlices(turned))).kurtosis)
  }
  const mean = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0) / xs.length
  const notes = { order, kurtosisBefore: mean(before), kurtosisAfter: mean(after), errorBefore, errorAfter }
  if (options.accept === 'better' && !(errorAfter < errorBefore * (1 - options.minimumGain))) {
    return { transforms: [], skip: `rotating would change the output error by a factor of ${(errorAfter / errorBefore).toPrecision(3)}`, notes }
  }
  return { transforms: [{ kind: 'rotate', signs, order }], notes }
}

async function errorOf(job: TransformJob, site: TransformJob['sites'][number], data: Float32Array<ArrayBuffer>, gram: GramStatistic, rounding: RoundingAlgorithm): Promise<number> {
  const { q } = await rounding.round({ site, weight: { ...site.tensor, data }, scheme: site.scheme, statistics: { gram }, linalg: job.linalg, seed: job.seed, ...(job.signal === undefined ? {} : { signal: job.signal }) })
  const thing = `rotation of ${site.id}`
  const values = (await inSlices(dequantizeSlices(q), job.signal, thing)).data
  return (await inSlices(rowErrorSlices(data, values, site.weight.rows, gram, job.linalg), job.signal, thing)).reduce((a, b) => a + b, 0)
}

/** `Q G Qᵀ`: the Gram matrix of rotated rows. G is symmetric, so rotating its rows, then those of the transpose, is enough. */
export function rotateGram(gram: GramStatistic, signs: Int8Array, order: number): GramStatistic {
  return wholly(rotateGramSlices(gram, signs, order))
}

function* rotateGramSlices(gram: GramStatistic, signs: Int8Array, order: number): Slices<GramStatistic> {
  const k = gram.size
  const data = Float64Array.from(gram.data)
  yield* rotateRowSlices(data, signs, order)
  const turned = new Float64Array(data.length)
  for (let row = 0; row < k; row++) {
    for (let column = 0; column < k; column++) turned[row * k + column] = data[column * k + row]
    yield
  }
  yield* rotateRowSlices(turned, signs, order)
  return { ...gram, data: turned }
}
