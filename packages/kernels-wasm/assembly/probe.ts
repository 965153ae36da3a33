/**
 * Sums of `i32x4.relaxed_dot_i8x16_i7x16_add_s` and of its 16-bit form over `count` pairs of vectors, for the host to
 * compare with what they should be. In a loop, so that the optimizing compiler is reached: an engine has been seen whose
 * baseline compiler is wrong and one whose flag for relaxed SIMD is.
 */
export function probeDot4(a: usize, b: usize, count: i32, out: usize): void {
  let sum = i32x4.splat(0)
  for (let i = 0; i < count; i++) {
    if (ASC_FEATURE_RELAXED_SIMD) sum = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(a + (<usize>i << 4)), v128.load(b + (<usize>i << 4)), sum)
  }
  v128.store(out, sum)
}

export function probeDot2(a: usize, b: usize, count: i32, out: usize): void {
  let sum = i16x8.splat(0)
  for (let i = 0; i < count; i++) {
    if (ASC_FEATURE_RELAXED_SIMD) sum = i16x8.add(sum, i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(a + (<usize>i << 4)), v128.load(b + (<usize>i << 4))))
  }
  v128.store(out, sum)
}
