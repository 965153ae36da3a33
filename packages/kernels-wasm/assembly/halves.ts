/** Eight 16-bit floats to two vectors of float32, and back. */

/** 2^112: what a float16's bits lack when they are moved under a float32's exponent. */
const REBIAS: f32 = 5.192296858534828e33

// @ts-ignore: decorator
@inline export function float16Low(h: v128): v128 {
  return f32x4.mul(v128.and(i32x4.shl(i32x4.extend_low_i16x8_s(h), 13), i32x4.splat(<i32>0x8fffe000)), f32x4.splat(REBIAS))
}
// @ts-ignore: decorator
@inline export function float16High(h: v128): v128 {
  return f32x4.mul(v128.and(i32x4.shl(i32x4.extend_high_i16x8_s(h), 13), i32x4.splat(<i32>0x8fffe000)), f32x4.splat(REBIAS))
}
// @ts-ignore: decorator
@inline export function bfloat16Low(h: v128): v128 {
  return i32x4.shl(i32x4.extend_low_i16x8_u(h), 16)
}
// @ts-ignore: decorator
@inline export function bfloat16High(h: v128): v128 {
  return i32x4.shl(i32x4.extend_high_i16x8_u(h), 16)
}

/** The nearest float16, ties to even; what is too large becomes the largest, ±65504. */
export function toFloat16(x: f32): u16 {
  const bits = reinterpret<u32>(x), sign = <u32>(bits >> 16) & 0x8000, size = bits & 0x7fffffff
  if (size >= 0x477fefff) return <u16>(sign | 0x7bff)
  // below 2^-14 a float16 has no leading bit: adding 1/2 leaves the rounded fraction in the last bits
  if (size < 0x38800000) return <u16>(sign | (reinterpret<u32>(reinterpret<f32>(size) + <f32>0.5) - 0x3f000000))
  return <u16>(sign | ((size - 0x38000000 + 0xfff + ((size >> 13) & 1)) >> 13))
}
