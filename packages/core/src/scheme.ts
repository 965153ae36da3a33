import { LowbitError } from './errors.js'

/** Integer code types: name → lowest and highest code, and bits on disk. */
export const INTEGER_CODES = {
  int2: { min: -2, max: 1, bits: 2 },
  int3: { min: -4, max: 3, bits: 3 },
  int4: { min: -8, max: 7, bits: 4 },
  int8: { min: -128, max: 127, bits: 8 },
  int16: { min: -32768, max: 32767, bits: 16 },
  uint2: { min: 0, max: 3, bits: 2 },
  uint3: { min: 0, max: 7, bits: 3 },
  uint4: { min: 0, max: 15, bits: 4 },
  uint8: { min: 0, max: 255, bits: 8 },
  uint16: { min: 0, max: 65535, bits: 16 },
  /** −1, 0, 1: BitNet b1.58, TWN, TTQ. */
  ternary: { min: -1, max: 1, bits: 2 },
  /** −1, 1: BinaryConnect, XNOR-Net. */
  binary: { min: -1, max: 1, bits: 1 },
} as const

/** Codes that are small floats or entries of a codebook: they have no zero point. */
export const TABLE_CODES = {
  float8e4m3fn: { bits: 8 },
  float8e5m2: { bits: 8 },
  nf4: { bits: 4 },
  fp4: { bits: 4 },
} as const

export type IntegerCode = keyof typeof INTEGER_CODES
export type TableCode = keyof typeof TABLE_CODES
export type CodeType = IntegerCode | TableCode

/** Which elements share one scale and zero point. */
export type Granularity =
  | { readonly kind: 'tensor' }
  /** One a slice along `axis`; weights are `[N, K]`, so an output channel is axis 0. */
  | { readonly kind: 'channel'; readonly axis: number }
  /** One for each `size` consecutive elements along `axis`; the last group may be short. */
  | { readonly kind: 'group'; readonly axis: number; readonly size: number }
  /** One a row, found at run time: activations only. */
  | { readonly kind: 'token' }

/**
 * What codes mean: `value = (code - zeroPoint) * scale`, one scale and zero point a granule.
 */
export interface Scheme {
  readonly dtype: CodeType
  readonly granularity: Granularity
  /** No zero point is stored: it is the fixed middle of the code range (0 for signed types). */
  readonly symmetric: boolean
  /** `float` lets the zero point be any number (HQQ, balanced levels). Default `integer`. */
  readonly zeroPoint?: 'integer' | 'float'
  /** Use about half of the code range so that 16-bit pair sums cannot saturate (x86 without VNNI). */
  readonly reduceRange?: boolean
}

/** Options of the scheme builders: without `group` or `tensor`, one scale an output channel. */
export interface SchemeOptions {
  readonly group?: number
  readonly perTensor?: boolean
  readonly symmetric?: boolean
  readonly reduceRange?: boolean
}

/** Bits a code takes on disk, without scales. */
export function bitsOf(dtype: CodeType): number {
  return isIntegerCode(dtype) ? INTEGER_CODES[dtype].bits : TABLE_CODES[dtype].bits
}

/** True for codes that are integers (with a code range and zero points). */
export function isIntegerCode(dtype: CodeType): dtype is IntegerCode {
  return Object.hasOwn(INTEGER_CODES, dtype)
}

/** True if the string names a code type. */
export function isCodeType(name: string): name is CodeType {
  return Object.hasOwn(INTEGER_CODES, name) || Object.hasOwn(TABLE_CODES, name)
}

/**
 * Lowest and highest code of an integer type.
 * @throws LOWBIT_DTYPE for a table type.
 */
export function codeRange(dtype: CodeType): { readonly min: number; readonly max: number } {
  if (!isIntegerCode(dtype)) {
    throw new LowbitError('LOWBIT_DTYPE', { thing: 'scheme', found: dtype, expected: `an integer code type (${Object.keys(INTEGER_CODES).join(', ')})` })
  }
  return INTEGER_CODES[dtype]
}

/** `int4 group 32 symmetric`: for messages and reports. */
export function describeScheme(scheme: Scheme): string {
  const g = scheme.granularity
  const where = g.kind === 'group' ? `group ${g.size}` : `per ${g.kind}`
  return `${scheme.dtype} ${where} ${scheme.symmetric ? 'symmetric' : 'asymmetric'}${scheme.reduceRange ? ' reduced range' : ''}`
}
