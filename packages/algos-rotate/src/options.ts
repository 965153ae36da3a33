import { LowbitError, hadamardOrder, rtn, type RoundingAlgorithm } from '@lowbit/core'

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

/** @throws LOWBIT_ARGUMENT naming the option. */
export function resolveOptions({ scope = 'group', order, accept = 'better', minimumGain = 0, rounding }: RotateOptions): ResolvedRotateOptions {
  const refuse = (name: string, found: unknown, expected: string): never => {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: `rotate({ ${name} })`, found: String(found), expected })
  }
  if (scope !== 'group' && scope !== 'residual') refuse('scope', scope, 'group or residual')
  if (order !== undefined && hadamardOrder(order) === undefined) refuse('order', order, '2^k, 12·2^k, 20·2^k or 28·2^k')
  if (accept !== 'better' && accept !== 'always') refuse('accept', accept, 'better or always')
  if (rounding !== undefined && typeof rounding.round !== 'function') refuse('rounding', JSON.stringify(rounding), 'a rounding algorithm, as rtn() or gptq() give it')
  if (!(minimumGain >= 0 && minimumGain < 1)) refuse('minimumGain', minimumGain, 'a number from 0 to below 1')
  return { scope, order, accept, minimumGain, rounding: rounding ?? rtn() }
}
