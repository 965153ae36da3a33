import { exponentOf } from './small-float.js'

/** Code of NaN in E8M0; the others are powers of two, `2^(code - 127)`. */
export const E8M0_NAN = 255

/**
 * E8M0 code of the nearest power of two, halves up (1.5 → 2). Zero, negative numbers, NaN and what lies past 2^127 have none: NaN.
 * The scale of an MX block is not made this way: see {@link quantizeMx}.
 */
export function encodeE8m0(x: number): number {
  if (!(x > 0) || x === Infinity) return E8M0_NAN
  const exponent = exponentOf(x)
  const code = exponent + 127 + (x >= 1.5 * 2 ** exponent ? 1 : 0)
  return code > 254 ? E8M0_NAN : Math.max(code, 0)
}

/** Value of an E8M0 code. */
export function decodeE8m0(code: number): number {
  return code === E8M0_NAN ? NaN : 2 ** (code - 127)
}
