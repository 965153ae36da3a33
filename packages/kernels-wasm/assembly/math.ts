/**
 * Functions in float32 made of single multiplications, additions and divisions, so that every engine and the plain
 * TypeScript of `src/scalar-math.ts` give the same bits. Coefficients: Cephes (expf, tanhf).
 */
const LOG2E: f32 = 1.44269504088896341
const LN2_HIGH: f32 = 0.693359375
const LN2_LOW: f32 = -2.12194440e-4
const SHIFTER: f32 = 12582912

/** `e^x`, to two units in the last place; x is cut to −87 … 88. */
// @ts-ignore: decorator
@inline export function exp(x: v128): v128 {
  x = f32x4.min(f32x4.max(x, f32x4.splat(-87)), f32x4.splat(88))
  const shifter = f32x4.splat(SHIFTER)
  const shifted = f32x4.add(f32x4.mul(x, f32x4.splat(LOG2E)), shifter)
  const n = f32x4.sub(shifted, shifter)
  const r = f32x4.sub(f32x4.sub(x, f32x4.mul(n, f32x4.splat(LN2_HIGH))), f32x4.mul(n, f32x4.splat(LN2_LOW)))
  let p = f32x4.add(f32x4.mul(f32x4.splat(1.9875691500e-4), r), f32x4.splat(1.3981999507e-3))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(8.3334519073e-3))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(4.1665795894e-2))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.6666665459e-1))
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(5.0000001201e-1))
  p = f32x4.add(f32x4.add(f32x4.mul(f32x4.mul(r, r), p), r), f32x4.splat(1))
  // the bits of n + shifter less those of the shifter are n itself
  return f32x4.mul(p, i32x4.shl(i32x4.add(i32x4.sub(shifted, shifter), i32x4.splat(127)), 23))
}

// @ts-ignore: decorator
@inline export function tanh(x: v128): v128 {
  const size = f32x4.abs(x), one = f32x4.splat(1)
  const e = exp(f32x4.add(size, size))
  const far = f32x4.sub(one, f32x4.div(f32x4.splat(2), f32x4.add(e, one)))
  const z = f32x4.mul(x, x)
  let p = f32x4.add(f32x4.mul(f32x4.splat(-5.70498872745e-3), z), f32x4.splat(2.06390887954e-2))
  p = f32x4.add(f32x4.mul(p, z), f32x4.splat(-5.37397155531e-2))
  p = f32x4.add(f32x4.mul(p, z), f32x4.splat(1.33314422036e-1))
  p = f32x4.add(f32x4.mul(p, z), f32x4.splat(-3.33332819422e-1))
  const near = f32x4.add(f32x4.mul(f32x4.mul(p, z), size), size)
  const y = v128.bitselect(near, far, f32x4.lt(size, f32x4.splat(0.625)))
  return v128.bitselect(y, x, i32x4.splat(0x7fffffff))
}

/** `x / (1 + e^−x)`. */
// @ts-ignore: decorator
@inline export function silu(x: v128): v128 {
  return f32x4.div(x, f32x4.add(f32x4.splat(1), exp(f32x4.neg(x))))
}

/** The tanh form: `x / 2 · (1 + tanh(√(2 / π) (x + 0.044715 x³)))`. */
// @ts-ignore: decorator
@inline export function gelu(x: v128): v128 {
  const cube = f32x4.mul(f32x4.mul(f32x4.mul(x, x), x), f32x4.splat(0.044715))
  return f32x4.mul(f32x4.mul(x, f32x4.splat(0.5)), f32x4.add(f32x4.splat(1), tanh(f32x4.mul(f32x4.add(x, cube), f32x4.splat(0.7978845608028654)))))
}

/** `max(x, 0)²`. */
// @ts-ignore: decorator
@inline export function relu2(x: v128): v128 {
  const y = f32x4.max(x, f32x4.splat(0))
  return f32x4.mul(y, y)
}

/** The four lanes in the order that the plain loops add them. */
// @ts-ignore: decorator
@inline export function total(v: v128): f32 {
  return (f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1)) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
}
