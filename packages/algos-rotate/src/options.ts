import { LowbitError, hadamardOrder, resolveOptions, rtn, type DeclarationsOf, type RoundingAlgorithm } from '@lowbit/core'

export interface RotateOptions {
  /**
   * `group` (default): the inputs of sites, one fold group at a time; where nothing before an input can be turned, the host adds the
   * rotation as an operator. `residual`: the stream that runs through a model from its embedding to its head, fused into every
   * weight that reads or writes it, without an operator at run time.
   */
  readonly scope?: 'group' | 'residual'
  /** Channels turned together: 2^k, 12·2^k, 20·2^k or 28·2^k, a divisor of the channels. Default: the largest there is. */
  readonly order?: number
  /**
   * `better` (default): only where the error of rounding falls by more than `minimumGain`: that of the outputs for groups, that of
   * the weights for a stream. Rotation spreads outliers; it makes normal weights, and small groups that isolate an outlier by
   * themselves, slightly worse. `always`: without asking.
   */
  readonly accept?: 'better' | 'always'
  /** Share of the error that must go, 0 to 1: an explicit rotation costs time at run time. Default 0. */
  readonly minimumGain?: number
  /** What is measured: best the rounding that follows. It may need no statistics but `gram`, and none for a stream. Default round-to-nearest. */
  readonly rounding?: RoundingAlgorithm
}

/** Options with every default filled in. */
export type ResolvedRotateOptions = Required<Omit<RotateOptions, 'order'>> & { readonly order: number | undefined }

/** What {@link rotate} takes. */
export const ROTATE_OPTIONS = {
  scope: { type: 'choice', values: ['group', 'residual'], default: 'group', about: 'the inputs of sites, or the stream that runs through the model' },
  order: { type: 'integer', minimum: 1, otherwise: 'the largest there is', about: 'channels turned together: 2^k, 12·2^k, 20·2^k or 28·2^k' },
  accept: { type: 'choice', values: ['better', 'always'], default: 'better', about: 'only where the error of rounding falls, or without asking' },
  minimumGain: { type: 'number', minimum: 0, below: 1, default: 0, about: 'share of the error that must go' },
  rounding: { type: 'plugin', kind: 'rounding', otherwise: 'round to nearest', about: 'what is measured: best the rounding that follows' },
} as const satisfies DeclarationsOf<RotateOptions>

/** @throws LOWBIT_ARGUMENT naming the option. */
export function resolveRotateOptions(options: RotateOptions): ResolvedRotateOptions {
  const { scope, order, accept, minimumGain, rounding = rtn() } = resolveOptions<RotateOptions, typeof ROTATE_OPTIONS>(ROTATE_OPTIONS, options, 'rotate')
  if (order !== undefined && hadamardOrder(order) === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'rotate({ order })', found: String(order), expected: '2^k, 12·2^k, 20·2^k or 28·2^k' })
  return { scope, order, accept, minimumGain, rounding }
}
