import { codeRange, isIntegerCode, LowbitError, middleCode, type CodeType, type Scheme } from '@lowbit/core'

/** How codes are kept: bits a code in memory, or floats. The numbers of `assembly/job.ts`. */
export type Kind = 2 | 4 | 8 | 32

/** Rows of weights that stand in the lanes of one block. */
export const BLOCK_ROWS = 8

/**
 * A four-way dot product that is exact on whole bytes, and whether its second operand is signed: what bytes are then kept for.
 */
export type ByteDot = 'unsigned' | 'signed' | undefined

/** How a matrix of codes lies in a kernel's memory. */
export interface Format {
  readonly kind: Kind
  /** Bytes lie as the dot product takes them. */
  readonly dot: ByteDot
  /** What is added to a code to store it (modulo 256). */
  readonly add: number
  /** The stored code that means 0 without a zero point. */
  readonly offset: number
  /** Greatest stored code. */
  readonly top: number
  /** Codes in a group, and with padding. */
  readonly groupUsed: number
  readonly group: number
  readonly groups: number
  /** Codes that are summed in 16 bits. */
  readonly sub: number
}

const KINDS: Readonly<Partial<Record<CodeType, Kind>>> = {
  int2: 2, uint2: 2, ternary: 2, binary: 2, int3: 4, uint3: 4, int4: 4, uint4: 4, int8: 8, uint8: 8,
}

/** `dtype/granularity` pairs that the kernels take. */
export const SCHEMES: readonly string[] = [...Object.keys(KINDS).flatMap((dtype) => ['tensor', 'channel', 'group'].map((granularity) => `${dtype}/${granularity}`)), 'float32']

/**
 * The format of a scheme for a matrix of `columns`.
 * @throws LOWBIT_UNSUPPORTED
 */
export function formatOf(scheme: Scheme, columns: number, byteDot: ByteDot = undefined): Format {
  const { dtype, granularity } = scheme
  const kind = KINDS[dtype]
  const fits = granularity.kind === 'tensor' || (granularity.kind === 'channel' && granularity.axis === 0) || (granularity.kind === 'group' && granularity.axis === 1)
  if (kind === undefined || !isIntegerCode(dtype) || !fits) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'weights for the kernels', found: `${dtype} per ${granularity.kind}${'axis' in granularity ? ` of axis ${granularity.axis}` : ''}`, expected: `${Object.keys(KINDS).join(', ')} per tensor, per row (axis 0) or in groups along K (axis 1)` })
  }
  const { min, max } = codeRange(dtype)
  const dot = kind === 8 ? byteDot : undefined
  const middle = dot === 'unsigned' ? 128 : 0
  const add = kind === 8 ? (min < 0 ? middle : middle - 128) : -min
  const offset = kind === 8 ? middle : min < 0 ? -min : middleCode(dtype)
  const groupUsed = granularity.kind === 'group' ? Math.min(granularity.size, columns) : columns
  const sub = subOf(kind, max - min, groupUsed)
  return { kind, dot, add, offset, top: max - min, groupUsed, group: Math.ceil(groupUsed / sub) * sub, groups: Math.ceil(columns / groupUsed), sub }
}

/**
 * The longest run of codes whose sum of products stays in 16 bits, shorter where the padding would cost more than an eighth:
 * 4-bit kernels add `SUB / 2` products of at most 15 · 127 in a lane, 2-bit kernels `SUB / 4` of at most 4 · code · 127.
 */
function subOf(kind: Kind, top: number, used: number): number {
  let sub = kind === 4 ? 32 : kind === 8 ? 16 : top === 2 ? 128 : 64
  while (sub > 16 && Math.ceil(used / sub) * sub > used * 1.125) sub /= 2
  return sub
}

/** The kind in a job, by the numbers of `assembly/job.ts`. */
export function jobKind({ kind, dot }: Format): number {
  return dot === undefined ? kind : dot === 'unsigned' ? 9 : 10
}

/** What a zero point adds to `stored − offset`: `offset − add − zeroPoint`. */
export function zeroOf(format: Format, zeroPoint: number): number {
  return format.offset - format.add - zeroPoint
}
