import { LowbitError, type Json, type RoundingAlgorithm } from '@lowbit/core'

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
}

/** Options with every default filled in. */
export type ResolvedOptions = Required<Omit<GptqOptions, 'negativeScales'>> & { readonly negativeScales: boolean | undefined }

/** @throws LOWBIT_ARGUMENT naming the option. */
export function resolveOptions(options: GptqOptions): ResolvedOptions {
  const { percdamp = 0.01, blocksize = 128, actOrder = 'off', staticGroups = actOrder === 'static', scales = 'gram', deadColumns = 'keep', negativeScales } = options
  const refuse = (name: string, found: unknown, expected: string): never => {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: `gptq({ ${name} })`, found: String(found), expected })
  }
  if (!(percdamp >= 0 && Number.isFinite(percdamp))) refuse('percdamp', percdamp, 'a finite number of at least 0')
  if (!(Number.isInteger(blocksize) && blocksize >= 1)) refuse('blocksize', blocksize, 'a whole number of at least 1')
  if (actOrder !== 'off' && actOrder !== 'static') refuse('actOrder', actOrder, 'off or static')
  if (deadColumns !== 'keep' && deadColumns !== 'zero') refuse('deadColumns', deadColumns, 'keep or zero')
  if (actOrder === 'static' && !staticGroups) refuse('staticGroups', staticGroups, 'true with actOrder static: groups in another order would need an index for each column')
  const known = typeof scales === 'string' ? ['range', 'mse', 'gram'].includes(scales) : typeof scales.round === 'function'
  if (!known) refuse('scales', typeof scales === 'string' ? scales : JSON.stringify(scales), 'range, mse, gram or a rounding algorithm, as rtn() gives it')
  return { percdamp, blocksize, actOrder, staticGroups, scales, deadColumns, negativeScales }
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
