import { decodeTable, FLOAT16 } from './small-float.js'

const word = new Uint32Array(1)
const single = new Float32Array(word.buffer)
let table: Float32Array | undefined

/** binary16 bits of the nearest value, halves to even; past 65504 infinity, NaN quiet. `x` is taken as float32 first. */
export function encodeFloat16(x: number): number {
  single[0] = x
  const bits = word[0] ?? 0
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & 0x7fffffff
  if (magnitude > 0x7f800000) return sign | 0x7e00
  if (magnitude >= 0x477ff000) return sign | 0x7c00
  if (magnitude >= 0x38800000) {
    // 13 fraction bits fall away; 0x38000000 rebases the exponent.
    return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13)
  }
  if (magnitude <= 0x33000000) return sign
  // Subnormal: the shifted significand, rounded by hand.
  const shift = 126 - (magnitude >>> 23)
  const significand = (magnitude & 0x7fffff) | 0x800000
  const half = 1 << (shift - 1)
  return sign | ((significand + half - 1 + ((significand >>> shift) & 1)) >>> shift)
}

/** Value of binary16 bits. */
export function decodeFloat16(bits: number): number {
  table ??= decodeTable(FLOAT16)
  return table[bits] ?? NaN
}

/** `x` rounded to the nearest binary16 value. */
export function roundToFloat16(x: number): number {
  return decodeFloat16(encodeFloat16(x))
}

/** binary16 bits of each value. */
export function toFloat16(values: ArrayLike<number>): Uint16Array<ArrayBuffer> {
  const out = new Uint16Array(values.length)
  for (let i = 0; i < out.length; i++) out[i] = encodeFloat16(values[i] ?? 0)
  return out
}

/** float32 values of binary16 bits. */
export function fromFloat16(bits: ArrayLike<number>): Float32Array<ArrayBuffer> {
  const values = (table ??= decodeTable(FLOAT16))
  const out = new Float32Array(bits.length)
  for (let i = 0; i < out.length; i++) out[i] = values[bits[i] ?? 0] ?? NaN
  return out
}
