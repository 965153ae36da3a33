import { LowbitError } from './errors.js'
import { resolveOptions } from './options/check-options.js'
import { SCHEME_OPTIONS } from './options/scheme-options.js'
import { isCodeType, isIntegerCode, type CodeType, type Granularity, type Scheme, type SchemeOptions } from './scheme.js'

/**
 * A weight scheme: weights are `[N, K]`, groups lie along K, channels are rows.
 * @throws LOWBIT_GROUP_SIZE if the group size is not a whole number of at least 1; LOWBIT_ARGUMENT for any other option that is none.
 */
export function weightScheme(dtype: CodeType, options: SchemeOptions = {}): Scheme {
  if (!isCodeType(dtype)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'weights', found: String(dtype), expected: 'a code type, such as int4' })
  const { group } = options
  if (group !== undefined && (!Number.isInteger(group) || group < 1)) {
    throw new LowbitError('LOWBIT_GROUP_SIZE', { thing: `${dtype} weights`, found: `group size ${group}`, expected: 'a whole number of at least 1' })
  }
  const { perTensor, symmetric = true, reduceRange } = resolveOptions<SchemeOptions, typeof SCHEME_OPTIONS>(SCHEME_OPTIONS, options, dtype)
  if (!symmetric && !isIntegerCode(dtype)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: `${dtype}({ symmetric })`, found: 'false', expected: 'true: codes of a table have no zero points' })
  const granularity: Granularity =
    group !== undefined ? { kind: 'group', axis: 1, size: group } : perTensor ? { kind: 'tensor' } : { kind: 'channel', axis: 0 }
  return { dtype, granularity, symmetric, ...(reduceRange === undefined ? {} : { reduceRange }) }
}

/** int8 weights, one scale a channel unless said otherwise. */
export const int8 = (options?: SchemeOptions): Scheme => weightScheme('int8', options)
/** int4 weights; `int4({ group: 32 })` is the usual choice. */
export const int4 = (options?: SchemeOptions): Scheme => weightScheme('int4', options)
/** int3 weights. */
export const int3 = (options?: SchemeOptions): Scheme => weightScheme('int3', options)
/** int2 weights. */
export const int2 = (options?: SchemeOptions): Scheme => weightScheme('int2', options)
/** uint4 weights with zero points unless `symmetric` is set. */
export const uint4 = (options?: SchemeOptions): Scheme => weightScheme('uint4', { symmetric: false, ...options })
/** uint8 weights with zero points unless `symmetric` is set. */
export const uint8 = (options?: SchemeOptions): Scheme => weightScheme('uint8', { symmetric: false, ...options })
