import { LowbitError, channelAbsMaxSlices, inSlices, resolveOptions, throwIfAborted, type DeclarationsOf, type HostTensor, type TransformAlgorithm, type TransformJob, type TransformResult } from '@lowbit/core'
import { int8ErrorSlices, type ActivationScale } from './int8-error.js'
import { smoothScales } from './scales.js'
import { VERSION } from './version.js'

export interface SmoothQuantOptions {
  /**
   * How much of the activations' difficulty goes into the weights, 0 to 1; `search` tries 0.3 to 0.7 for each fold group and keeps
   * what gives the least error with int8 on both sides, or leaves the group alone if that is best. Default 0.5.
   */
  readonly alpha?: number | 'search'
  /** How activations will be quantized; `search` measures with it. Default `token`. */
  readonly activations?: ActivationScale
}

/** What {@link smoothQuant} takes. */
export const SMOOTHQUANT_OPTIONS = {
  alpha: { type: 'either', of: [{ type: 'number', minimum: 0, maximum: 1 }, { type: 'choice', values: ['search'] }], default: 0.5, about: 'how much of the activations’ difficulty goes into the weights' },
  activations: { type: 'choice', values: ['token', 'tensor'], default: 'token', about: 'how activations will be quantized; search measures with it' },
} as const satisfies DeclarationsOf<SmoothQuantOptions>

/** Values of α that `search` tries. */
export const SEARCHED_ALPHAS = [0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7] as const

/**
 * SmoothQuant (Xiao et al. 2023): channels with large activations are divided by a scale that their weights are multiplied with, so
 * that both fit int8. Folded into the norm or layer before it; where nothing can take it, the host inserts a multiplication.
 * @throws LOWBIT_ARGUMENT for an α outside [0, 1]; the plan: LOWBIT_CALIBRATION, LOWBIT_NONFINITE.
 */
export function smoothQuant(options: SmoothQuantOptions = {}): TransformAlgorithm {
  const { alpha, activations } = resolveOptions<SmoothQuantOptions, typeof SMOOTHQUANT_OPTIONS>(SMOOTHQUANT_OPTIONS, options, 'smoothQuant')
  return {
    kind: 'transform',
    name: '@lowbit/algos-smoothquant',
    version: VERSION,
    apiVersion: 2,
    config: { alpha, activations },
    needs: () => (alpha === 'search' ? ['absmax-per-channel', 'samples'] : ['absmax-per-channel']),
    plan: (job) => plan(job, alpha, activations),
  }
}

async function plan(job: TransformJob, alpha: number | 'search', mode: ActivationScale): Promise<TransformResult> {
  const thing = `SmoothQuant of ${job.group.id}`
  throwIfAborted(job.signal, thing)
  if (job.group.refused?.scale !== undefined) return { transforms: [], skip: job.group.refused.scale }
  const top = required(job.statistics['absmax-per-channel'], thing, 'absmax-per-channel').data
  const at = top.findIndex((v) => !Number.isFinite(v))
  if (at >= 0) throw new LowbitError('LOWBIT_NONFINITE', { thing, found: `max|x| of channel ${at} is ${top[at]}`, expected: 'finite activations', fix: 'look for NaN or infinity in the calibration data' })
  if (top.length !== job.group.channels) {
    throw new LowbitError('LOWBIT_SHAPE', { thing, found: `absmax-per-channel of ${top.length} channels`, expected: `${job.group.channels}` })
  }
  if (top.every((v) => v === 0)) return { transforms: [], skip: 'its input is always 0' }
  const weightMax = await inSlices(channelAbsMaxSlices(job.sites.map(({ weight, tensor }) => ({ weight, data: tensor.data })), job.group.channels), job.signal, thing)
  if (alpha !== 'search') return { transforms: [{ kind: 'scale', scales: smoothScales(top, weightMax, alpha) }], notes: { alpha } }

  const x = required(job.statistics.samples, thing, 'samples')
  const before = await inSlices(int8ErrorSlices(x, job.sites, new Float32Array(job.group.channels).fill(1), mode), job.signal, thing)
  let best: { readonly alpha: number; readonly scales: Float32Array; readonly error: number } | undefined
  for (const candidate of SEARCHED_ALPHAS) {
    throwIfAborted(job.signal, thing)
    const scales = smoothScales(top, weightMax, candidate)
    const error = await inSlices(int8ErrorSlices(x, job.sites, scales, mode), job.signal, thing)
    if (error < (best?.error ?? before)) best = { alpha: candidate, scales, error }
  }
  if (best === undefined) return { transforms: [], skip: 'no α makes int8 better than it is', notes: { errorBefore: before } }
  return { transforms: [{ kind: 'scale', scales: best.scales }], notes: { alpha: best.alpha, errorBefore: before, errorAfter: best.error } }
}

function required(value: HostTensor<'float32'> | undefined, thing: string, name: string): HostTensor<'float32'> {
  if (value === undefined) throw new LowbitError('LOWBIT_CALIBRATION', { thing, found: `no ${name} of its input`, expected: `statistics['${name}']`, fix: 'pass calibration data' })
  return value
}
