import { inSlices, LowbitError, matchesAny, resolveOptions, rtn, scaleColumnSlices, throwIfAborted, type DeclarationsOf, type RoundingAlgorithm, type Transform, type TransformAlgorithm, type TransformJob, type TransformResult } from '@lowbit/core'
import { CLIP_RATIOS, searchClip } from './clip-search.js'
import { lossOf, roundedBy, scaledGram, searchScales, type SearchContext, type WeightStat } from './scale-search.js'
import { VERSION } from './version.js'

export interface AwqOptions {
  /** What stands for the size of a weight channel: mean |w|; the same over its group's largest (AutoAWQ); nothing (the paper). Default `mean`. */
  readonly weightStat?: WeightStat
  /** Values of α tried, `i / grid`. Default 20. */
  readonly grid?: number
  /**
   * Clip weights afterwards where that lowers the error of rounding. For rounding to nearest; an algorithm that corrects errors
   * itself, such as GPTQ, should see unclipped weights. Default true.
   */
  readonly clip?: boolean
  /** Sites that are never clipped, by name or pattern: attention scores suffer from it. Default: query and key projections by their usual names. */
  readonly clipExcept?: readonly string[]
  /** Candidates are measured with this rounding, best the one that follows. It may need no statistics but `gram`. Default round-to-nearest. */
  readonly rounding?: RoundingAlgorithm
  /**
   * The rounding that follows, where measuring every candidate with it would take too long: the best scale is kept only if this has
   * less output error with it than without. It may need no statistics but `gram`. Default: what `rounding` says is believed.
   */
  readonly check?: RoundingAlgorithm
}

/** What {@link awq} takes. */
export const AWQ_OPTIONS = {
  weightStat: { type: 'choice', values: ['mean', 'group-normalized', 'none'], default: 'mean', about: 'what stands for the size of a weight channel' },
  grid: { type: 'integer', minimum: 1, maximum: 10_000, default: 20, about: 'values of α tried' },
  clip: { type: 'boolean', default: true, about: 'clip weights afterwards where that lowers the error of rounding' },
  clipExcept: { type: 'list', of: { type: 'text' }, when: { clip: [true] }, otherwise: 'query and key projections by their usual names', about: 'sites that are never clipped' },
  rounding: { type: 'plugin', kind: 'rounding', otherwise: 'round to nearest', about: 'candidates are measured with this rounding, best the one that follows' },
  check: { type: 'plugin', kind: 'rounding', otherwise: 'none', about: 'the best scale is kept only if this rounding has less output error with it' },
} as const satisfies DeclarationsOf<AwqOptions>

const QUERY_KEY = ['*q_proj*', '*k_proj*', '*/query/*', '*/key/*', '*.wq*', '*.wk*', '*/wq/*', '*/wk/*']

/**
 * AWQ (Lin et al. 2023): channels that carry much activation get finer weights, by a scale that the layer before takes back. The
 * scale is searched for each fold group by the output error of rounding, then each group's clipping limit; both need nothing but the
 * Gram matrix and the mean magnitudes of the input. Never worse than the rounding it measures with: no scale is a candidate.
 * @throws LOWBIT_ARGUMENT for options out of range; the plan: LOWBIT_CALIBRATION, LOWBIT_NONFINITE.
 */
export function awq(options: AwqOptions = {}): TransformAlgorithm {
  const { weightStat, grid, clip, clipExcept = QUERY_KEY, rounding, check } = resolveOptions<AwqOptions, typeof AWQ_OPTIONS>(AWQ_OPTIONS, options, 'awq')
  const named = (name: 'rounding' | 'check', given: RoundingAlgorithm | undefined): object => (given === undefined ? {} : { [name]: { name: given.name, version: given.version, config: given.config } })
  return {
    kind: 'transform',
    name: '@lowbit/algos-awq',
    version: VERSION,
    apiVersion: 2,
    config: { weightStat, grid, clip, ...(clip ? { clipExcept } : {}), ...named('rounding', rounding), ...named('check', check) },
    needs: () => ['gram', 'mean-abs-per-channel'],
    plan: (job) => plan(job, { weightStat, grid, clip, clipExcept, rounding: rounding ?? rtn(), check }),
  }
}

/** Options with every default filled in. */
type Resolved = Required<Omit<AwqOptions, 'check'>> & { readonly check: RoundingAlgorithm | undefined }

async function plan(job: TransformJob, options: Resolved): Promise<TransformResult> {
  const thing = `AWQ of ${job.group.id}`
  throwIfAborted(job.signal, thing)
  const { gram, 'mean-abs-per-channel': meanAbs } = job.statistics
  if (gram === undefined || meanAbs === undefined) {
    throw new LowbitError('LOWBIT_CALIBRATION', { thing, found: `no ${gram === undefined ? 'Gram matrix' : 'mean magnitudes'} of its input`, expected: 'statistics gram and mean-abs-per-channel', fix: 'pass calibration data' })
  }
  const at = meanAbs.data.findIndex((v) => !Number.isFinite(v))
  if (at >= 0) throw new LowbitError('LOWBIT_NONFINITE', { thing, found: `mean |x| of channel ${at} is ${meanAbs.data[at]}`, expected: 'finite activations', fix: 'look for NaN or infinity in the calibration data' })
  if (meanAbs.data.every((v) => v === 0)) return { transforms: [], skip: 'its input is always 0' }

  const context: SearchContext = { gram, linalg: job.linalg, seed: job.seed, signal: job.signal }
  // Where no scale can go, the weights can still be clipped as they are.
  const refused = job.group.refused?.scale
  const found = refused === undefined ? await searchScales(job.sites, meanAbs.data, options, context) : { best: undefined, identity: undefined }
  const { identity } = found
  const best = found.best === undefined || options.check === undefined || (await isBetter(job, found.best.scales, options.check, context)) ? found.best : undefined
  const transforms: Transform[] = best === undefined ? [] : [{ kind: 'scale', scales: best.scales }]
  const scales = best?.scales ?? new Float32Array(job.group.channels).fill(1)
  const clipped = options.clip ? await clips(job, scales, options, context) : []
  transforms.push(...clipped)
  const notes = { ...(identity === undefined ? {} : { errorBefore: identity, errorAfter: best?.loss ?? identity }), ...(best === undefined ? {} : { alpha: best.alpha }), ...(clipped.length === 0 ? {} : { clipped: clipped.length }) }
  if (refused !== undefined) return { transforms, skip: `no scale: ${refused}`, notes }
  if (transforms.length === 0) return { transforms, skip: 'rounding as it is has the least error', notes }
  return { transforms, notes }
}

/** Whether a rounding has less output error with these scales than without. */
async function isBetter(job: TransformJob, scales: Float32Array, rounding: RoundingAlgorithm, context: SearchContext): Promise<boolean> {
  return (await lossOf(job.sites, scales, rounding, context)) < (await lossOf(job.sites, new Float32Array(scales.length).fill(1), rounding, context))
}

async function clips(job: TransformJob, scales: Float32Array, { clipExcept, rounding }: Resolved, context: SearchContext): Promise<readonly Transform[]> {
  const excepted = matchesAny(clipExcept)
  const out: Transform[] = []
  for (const site of job.sites) {
    if (excepted(site.id)) continue
    throwIfAborted(job.signal, `AWQ of ${site.id}`)
    const scaled = { ...site, tensor: { ...site.tensor, data: await inSlices(scaleColumnSlices(site.tensor.data, site.weight, scales), job.signal, `AWQ of ${site.id}`) } }
    const gram = await inSlices(scaledGram(context.gram, site, scales), job.signal, `AWQ of ${site.id}`)
    const { weight, chosen } = await searchClip(scaled, gram, (clamped) => roundedBy(rounding, site, Float32Array.from(clamped), gram, context), CLIP_RATIOS, job.signal)
    if (chosen.some((r) => r > 0)) out.push({ kind: 'clip', site: site.id, weight: { ...site.tensor, data: weight } })
  }
  return out
}
