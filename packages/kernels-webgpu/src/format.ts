import { codeRange, isIntegerCode, LowbitError, middleCode, type CodeType, type Scheme } from '@lowbit/core'

/** Bits a code takes on the device. */
export type CodeKind = 2 | 4 | 8

/** How a matrix of codes lies on the device: rows, in them groups padded to sixteen codes, in words of four bytes. */
export interface Format {
  readonly kind: CodeKind
  /** What is added to a code to store it (modulo 256). */
  readonly add: number
  /** The stored code that means 0 without a zero point. */
  readonly offset: number
  /** Codes in a group, and with padding. */
  readonly used: number
  readonly group: number
  readonly groups: number
}

const KINDS: Readonly<Partial<Record<CodeType, CodeKind>>> = {
  int2: 2, uint2: 2, ternary: 2, binary: 2, int3: 4, uint3: 4, int4: 4, uint4: 4, int8: 8, uint8: 8,
}

/** `dtype/granularity` pairs that the kernels take. */
export const SCHEMES: readonly string[] = [...Object.keys(KINDS).flatMap((dtype) => ['tensor', 'channel', 'group'].map((granularity) => `${dtype}/${granularity}`)), 'float32']

/** @throws LOWBIT_UNSUPPORTED */
export function formatOf({ dtype, granularity }: Scheme, columns: number): Format {
  const kind = KINDS[dtype]
  const fits = granularity.kind === 'tensor' || (granularity.kind === 'channel' && granularity.axis === 0) || (granularity.kind === 'group' && granularity.axis === 1)
  if (kind === undefined || !isIntegerCode(dtype) || !fits) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'weights for the kernels', found: `${dtype} per ${granularity.kind}${'axis' in granularity ? ` of axis ${granularity.axis}` : ''}`, expected: `${Object.keys(KINDS).join(', ')} per tensor, per row (axis 0) or in groups along K (axis 1)` })
  }
  const { min } = codeRange(dtype)
  const add = kind === 8 ? (min < 0 ? 0 : -128) : -min
  const offset = kind === 8 ? 0 : min < 0 ? -min : middleCode(dtype)
  const used = granularity.kind === 'group' ? Math.min(granularity.size, columns) : columns
  return { kind, add, offset, used, group: Math.ceil(used / 16) * 16, groups: Math.ceil(columns / used) }
}
