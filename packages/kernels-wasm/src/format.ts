import { codeRange, isIntegerCode, LowbitError, middleCode, type CodeType, type Scheme } from '@lowbit/core'

/** How codes are kept: bits a code in memory; or floats: float16 (16), bfloat16 (17), float32. The numbers of `assembly/job.ts`. */
export type Kind = 2 | 4 | 8 | 16 | 17 | 32

/** Rows of weights that stand in the lanes of one block. */
export const BLOCK_ROWS = 8

/**
 * A four-way dot product that is exact on whole bytes, and whether its second operand is signed: what bytes are then kept for.
 */
export type ByteDot = 'unsigned' | 'signed' | undefined

/** What the kernels of a tier multiply by. */
export interface Dots {
  /** There is a relaxed dot product, exact on codes of up to seven bits. */
  readonly relaxed: boolean
  readonly bytes: ByteDot
}

/** How a matrix of codes lies in a kernel's memory. */
export interface Format {
  readonly kind: Kind
  /** Codes are multiplied by the four-way dot product; bytes lie as it takes them. */
  readonly dot: ByteDot
  /** What is added to a code to store it (modulo 256). */
  readonly add: number
  /** The stored code that means 0 without a zero point. */
  readonly offset: number
  /** Greatest stored code. */
  readonly top: number
  /** `value = (stored − offset) · scale + minimum`, where otherwise a zero point is added before scaling. */
  readonly minima: boolean
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
export function formatOf(scheme: Scheme, columns: number, dots: Dots = PLAIN): Format {
  const { dtype, granularity } = scheme
  const kind = KINDS[dtype]
  const fits = granularity.kind === 'tensor' || (granularity.kind === 'channel' && granularity.axis === 0) || (granularity.kind === 'group' && granularity.axis === 1)
  if (kind === undefined || !isIntegerCode(dtype) || !fits) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'weights for the kernels', found: `${dtype} per ${granularity.kind}${'axis' in granularity ? ` of axis ${granularity.axis}` : ''}`, expected: `${Object.keys(KINDS).join(', ')} per tensor, per row (axis 0) or in groups along K (axis 1)` })
  }
  const { min, max } = codeRange(dtype)
  const dot = columns <= LONGEST_DOT ? dots.bytes : undefined
  const middle = dot === 'unsigned' ? 128 : 0
  const add = kind === 8 ? (min < 0 ? middle : middle - 128) : -min
  const offset = kind === 8 ? middle : min < 0 ? -min : middleCode(dtype)
  const groupUsed = granularity.kind === 'group' ? Math.min(granularity.size, columns) : columns
  return { kind, dot, add, offset, top: max - min, minima: false, ...grouping(kind, max - min, groupUsed, columns, dot) }
}

/** K up to which 32 bits hold the sum of 4-bit codes that are multiplied 16 times too large: 16 · 15 · 127 · K / 2 < 2^31. */
const LONGEST_DOT = 2 ** 17

/** No dot product of four bytes: the plain kernels. */
const PLAIN: Dots = { relaxed: false, bytes: undefined }

/** The format of codes from `low` to `high` in groups: the narrowest that holds them. */
export function formatOfGrouped(low: number, high: number, group: number, columns: number, minima: boolean, dots: Dots = PLAIN): Format {
  const top = high - low
  const kind = top <= 3 ? 2 : top <= 15 ? 4 : 8
  // seven bits are exact in the relaxed dot product of every engine
  const dot = kind === 8 && top <= 127 && dots.relaxed ? 'unsigned' : columns <= LONGEST_DOT ? dots.bytes : undefined
  const add = kind !== 8 || dot === 'unsigned' ? -low : high > 127 ? -128 : 0
  return { kind, dot, add, offset: add, top, minima, ...grouping(kind, top, Math.min(group, columns), columns, dot) }
}

function grouping(kind: Kind, top: number, groupUsed: number, columns: number, dot: ByteDot): Pick<Format, 'groupUsed' | 'group' | 'groups' | 'sub'> {
  const sub = dot === undefined ? subOf(kind, top, groupUsed) : 16
  return { groupUsed, group: Math.ceil(groupUsed / sub) * sub, groups: Math.ceil(columns / groupUsed), sub }
}

/** The format of floats: `[blocks, K, 8]`. */
export function formatOfFloats(kind: 16 | 17 | 32): Format {
  return { kind, dot: undefined, add: 0, offset: 0, top: 0, minima: false, groupUsed: 0, group: 0, groups: 0, sub: 0 }
}

export function isFloat(format: Format): boolean {
  return format.kind >= 16
}

/**
 * The run of codes whose sum of products stays in 16 bits: 4-bit kernels add `SUB / 2` products of at most 15 · 127 in a lane,
 * 2-bit kernels `SUB / 4` of at most 4 · code · 127. A short run costs a widening more often (some five codes' time), a long one padding.
 */
function subOf(kind: Kind, top: number, used: number): number {
  const longest = kind === 4 ? 32 : kind === 8 ? 16 : top === 2 ? 128 : 64
  let best = { sub: 16, cost: Infinity }
  for (let sub = longest; sub >= 16; sub /= 2) {
    const cost = Math.ceil(used / sub) * sub * (1 + 5 / sub)
    if (cost < best.cost) best = { sub, cost }
  }
  return best.sub
}

/** The kind in a job, by the numbers of `assembly/job.ts`. */
export function jobKind({ kind, dot }: Format): number {
  if (dot === undefined || kind >= 16) return kind
  if (dot === 'unsigned') return kind === 2 ? 7 : kind === 4 ? 6 : 9
  return kind === 2 ? 3 : kind === 4 ? 5 : 10
}

/** What a zero point adds to `stored − offset`: `offset − add − zeroPoint`. */
export function zeroOf(format: Format, zeroPoint: number): number {
  return format.offset - format.add - zeroPoint
}
