import { roundHalfEven } from '../reference/round.js'

/** What happens past the largest finite value, and to NaN. */
type Overflow = 'infinity' | 'nan' | 'saturate'

/** A binary floating-point type of at most 16 bits, described so that one pair of functions encodes and decodes all of them. */
export interface SmallFloat {
  readonly name: string
  readonly bits: number
  /** Stored fraction bits. */
  readonly fraction: number
  /** Exponent of the smallest normal number; subnormals share it. */
  readonly minExponent: number
  /** Code of the largest finite value. */
  readonly maxCode: number
  /** Code of NaN, absent where the type has none. */
  readonly nan?: number
  readonly overflow: Overflow
  /** The `uz` types have one zero: code `1000…` is NaN. */
  readonly unsignedZero?: true
}

/** IEEE 754 binary16. */
export const FLOAT16: SmallFloat = { name: 'float16', bits: 16, fraction: 10, minExponent: -14, maxCode: 0x7bff, nan: 0x7e00, overflow: 'infinity' }
/** The upper half of binary32. */
export const BFLOAT16: SmallFloat = { name: 'bfloat16', bits: 16, fraction: 7, minExponent: -126, maxCode: 0x7f7f, nan: 0x7fc0, overflow: 'infinity' }
/** OCP FP8 E4M3: no infinity, NaN is all ones; past 448 NaN. */
export const FLOAT8_E4M3FN: SmallFloat = { name: 'float8e4m3fn', bits: 8, fraction: 3, minExponent: -6, maxCode: 0x7e, nan: 0x7f, overflow: 'nan' }
/** OCP FP8 E5M2: as IEEE, with infinities. */
export const FLOAT8_E5M2: SmallFloat = { name: 'float8e5m2', bits: 8, fraction: 2, minExponent: -14, maxCode: 0x7b, nan: 0x7e, overflow: 'infinity' }
/** E4M3 with one zero, one NaN (0x80) and a bias larger by one. */
export const FLOAT8_E4M3FNUZ: SmallFloat = { name: 'float8e4m3fnuz', bits: 8, fraction: 3, minExponent: -7, maxCode: 0x7f, nan: 0x80, overflow: 'nan', unsignedZero: true }
/** E5M2 with one zero, one NaN (0x80) and a bias larger by one. */
export const FLOAT8_E5M2FNUZ: SmallFloat = { name: 'float8e5m2fnuz', bits: 8, fraction: 2, minExponent: -15, maxCode: 0x7f, nan: 0x80, overflow: 'nan', unsignedZero: true }
/** OCP FP6 E2M3: finite values only. */
export const FLOAT6_E2M3FN: SmallFloat = { name: 'float6e2m3fn', bits: 6, fraction: 3, minExponent: 0, maxCode: 0x1f, overflow: 'saturate' }
/** OCP FP6 E3M2: finite values only. */
export const FLOAT6_E3M2FN: SmallFloat = { name: 'float6e3m2fn', bits: 6, fraction: 2, minExponent: -2, maxCode: 0x1f, overflow: 'saturate' }
/** OCP FP4 E2M1: ±{0, 0.5, 1, 1.5, 2, 3, 4, 6}. */
export const FLOAT4_E2M1FN: SmallFloat = { name: 'float4e2m1fn', bits: 4, fraction: 1, minExponent: 0, maxCode: 0x7, overflow: 'saturate' }

const doubleView = new DataView(new ArrayBuffer(8))

/** floor(log2(x)) of a positive double, read from its bits: `Math.log2` is not exact. */
export function exponentOf(x: number): number {
  doubleView.setFloat64(0, x)
  const field = (doubleView.getUint32(0) >>> 20) & 0x7ff
  if (field !== 0) return field - 1023
  doubleView.setFloat64(0, x * 2 ** 64)
  return ((doubleView.getUint32(0) >>> 20) & 0x7ff) - 1023 - 64
}

/**
 * Code of the nearest value, halves to even. Past the range the type's own rule holds (NaN, infinity, the largest value);
 * `saturate` clamps to the largest finite value instead, as ONNX Cast does by default.
 */
export function encodeSmallFloat(format: SmallFloat, x: number, saturate = false): number {
  const sign = 1 << (format.bits - 1)
  const negative = x < 0 || Object.is(x, -0)
  if (Number.isNaN(x)) return format.nan ?? (negative ? sign : 0)
  const magnitude = Math.abs(x)
  let code = 0
  if (magnitude === Infinity) code = format.maxCode + 1
  else if (magnitude > 0) {
    const exponent = Math.max(exponentOf(magnitude), format.minExponent)
    // The hidden bit of a normal number adds 1 to the exponent field, and a carry of the rounding moves to the next one.
    code = (exponent - format.minExponent) * 2 ** format.fraction + roundHalfEven(magnitude * 2 ** (format.fraction - exponent))
  }
  if (code > format.maxCode) {
    if (saturate || format.overflow === 'saturate') code = format.maxCode
    else if (format.overflow === 'nan') return format.unsignedZero ? sign : negative ? sign | 0x7f : 0x7f
    else code = format.maxCode + 1
  }
  if (!negative || (format.unsignedZero && code === 0)) return code
  return sign | code
}

/** Value of a code. */
export function decodeSmallFloat(format: SmallFloat, code: number): number {
  const sign = 1 << (format.bits - 1)
  if (format.unsignedZero && code === sign) return NaN
  const magnitude = code & (sign - 1)
  if (magnitude > format.maxCode) return format.overflow === 'infinity' && magnitude === format.maxCode + 1 ? (code & sign ? -Infinity : Infinity) : NaN
  const field = magnitude >> format.fraction
  const fraction = magnitude & (2 ** format.fraction - 1)
  const value = (field === 0 ? fraction : fraction + 2 ** format.fraction) * 2 ** (Math.max(field, 1) - 1 + format.minExponent - format.fraction)
  return code & sign ? -value : value
}

/** All values of a type by code: 2^bits float32. */
export function decodeTable(format: SmallFloat): Float32Array {
  return Float32Array.from({ length: 2 ** format.bits }, (_, code) => decodeSmallFloat(format, code))
}
