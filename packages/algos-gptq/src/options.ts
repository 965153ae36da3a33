import { LowbitError, REFINE_OPTIONS, resolveOptions, type DeclarationsOf, type Json, type RoundingAlgorithm } from '@lowbit/core'

/**
 * Where scales come from.
 * - `range`: smallest and largest weight, as published; symmetric `2·absmax / (codes − 1)`.
 * - `mse`: of 80 shrunk ranges the one with the least `Σ|q − w|^2.4`, as in the authors' code.
 * - `gram`: the one with the least output error of its group after error feedback, seen through the Gram matrix.
 * - a rounding algorithm: its scales and zero points, kept as they are.
 */
export type ScaleSource = 'range' | 'mse' | 'gram' | RoundingAlgorithm

export interface GptqOptions {
  /** Added to the Gram diagonal, as a share of its mean. Default 0.01. */
  readonly percdamp?: number
  /** Columns between two updates of all later ones: a schedule, it does not change the result. Default 128. */
  readonly blocksize?: number
  /** `static`: columns are taken by falling Gram diagonal; scales belong to the original groups. Default `off`. */
  readonly actOrder?: 'off' | 'static'
  /** Scales from the original weights, not from those with earlier errors propagated. Default: as `actOrder` needs. */
  readonly staticGroups?: boolean
  /** Default `gram`: the best on every model measured; `range` is the published one. */
  readonly scales?: ScaleSource
  /** `gram` search: symmetric scales may be negative, so that the code range's longer side points either way. Default: for groups, and below 4 bits: with more codes in a row the side matters little. */
  readonly negativeScales?: boolean
  /** What happens to weights of inputs that were always 0: rounded, or set to 0 (the authors' code). Default `keep`. */
  readonly deadColumns?: 'keep' | 'zero'
  /**
   * Rounds over all codes and scales that follow, each code and then each scale set to what is best while the others stay (`refined`
   * of core). Default 4 with scales searched by `gram`, else 0: what is published, or given, stays as it is.
   */
  readonly refine?: number
  /**
   * In sequential mode: how much of what the rounded layers before have changed is taken back, from 0, which aims at the layer's own
   * weight as published, to 1, all that the calibration data says. Default 0.5.
   */
  readonly mismatch?: number
}

/** Options with every default filled in. */
export type ResolvedOptions = Required<Omit<GptqOptions, 'negativeScales'>> & { readonly negativeScales: boolean | undefined }

/** What {@link gptq} takes. */
export const GPTQ_OPTIONS = {
  percdamp: { type: 'number', minimum: 0, default: 0.01, about: 'added to the Gram diagonal, as a share of its mean' },
  blocksize: { type: 'integer', minimum: 1, default: 128, about: 'columns between two updates of all later ones: it does not change the result' },
  actOrder: { type: 'choice', values: ['off', 'static'], default: 'off', about: 'static: columns are taken by falling Gram diagonal' },
  staticGroups: { type: 'boolean', otherwise: 'as actOrder needs', about: 'scales from the original weights' },
  scales: { type: 'either', of: [{ type: 'choice', values: ['range', 'mse', 'gram'] }, { type: 'plugin', kind: 'rounding' }], default: 'gram', about: 'where scales come from' },
  negativeScales: { type: 'boolean', when: { scales: ['gram'] }, otherwise: 'for groups, and below 4 bits', about: 'symmetric scales may be negative' },
  deadColumns: { type: 'choice', values: ['keep', 'zero'], default: 'keep', about: 'what happens to weights of inputs that were always 0' },
  refine: { type: 'integer', minimum: 0, maximum: 1000, otherwise: '4 with searched scales, else 0', about: 'rounds over all codes and scales that follow' },
  mismatch: { type: 'number', minimum: 0, maximum: 1, default: 0.5, about: 'in sequential mode, how much of what the rounded layers before have changed is taken back' },
} as const satisfies DeclarationsOf<GptqOptions>

/** @throws LOWBIT_ARGUMENT naming the option. */
export function resolveGptqOptions(options: GptqOptions): ResolvedOptions {
  const filled = resolveOptions<GptqOptions, typeof GPTQ_OPTIONS>(GPTQ_OPTIONS, options, 'gptq')
  const { actOrder, staticGroups = actOrder === 'static', negativeScales, percdamp, blocksize, scales, deadColumns, refine = scales === 'gram' ? REFINE_OPTIONS.sweeps.default : 0, mismatch } = filled
  if (actOrder === 'static' && !staticGroups) {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'gptq({ staticGroups })', found: 'false', expected: 'true with actOrder static: groups in another order would need an index for each column' })
  }
  return { percdamp, blocksize, actOrder, staticGroups, scales, deadColumns, refine, mismatch, negativeScales }
}

/** What goes into reports and artifacts. */
export function describeOptions(options: ResolvedOptions): Json {
  const { scales, negativeScales, ...rest } = options
  return {
    ...rest,
    scales: typeof scales === 'string' ? scales : { name: scales.name, version: scales.version, config: scales.config },
    ...(negativeScales === undefined ? {} : { negativeScales }),
  }
}
