// What one thread of this machine can do: the two instructions of the kernels in a loop that touches no memory.

/** 12 independent sums; n rounds of 24 × (add, multiply-add of 16 products). */
export function bytes(n: i32, p: usize): void {
  const w = v128.load(p), x = v128.load(p, 16)
  let c0 = w, c1 = x, c2 = w, c3 = x, c4 = w, c5 = x, c6 = w, c7 = x, c8 = w, c9 = x, c10 = w, c11 = x
  for (let i = 0; i < n; i++) {
    for (let twice = 0; twice < 2; twice++) {
      c0 = dot(c0, w, x), c1 = dot(c1, w, x), c2 = dot(c2, w, x), c3 = dot(c3, w, x), c4 = dot(c4, w, x), c5 = dot(c5, w, x)
      c6 = dot(c6, w, x), c7 = dot(c7, w, x), c8 = dot(c8, w, x), c9 = dot(c9, w, x), c10 = dot(c10, w, x), c11 = dot(c11, w, x)
    }
  }
  v128.store(p, i16x8.add(i16x8.add(i16x8.add(c0, c1), i16x8.add(c2, c3)), i16x8.add(i16x8.add(i16x8.add(c4, c5), i16x8.add(c6, c7)), i16x8.add(i16x8.add(c8, c9), i16x8.add(c10, c11)))))
}
// @ts-ignore: decorator
@inline function dot(c: v128, w: v128, x: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i16x8.relaxed_dot_i8x16_i7x16_s(i16x8.add(c, w), x)
  return i16x8.mul(i16x8.add(c, w), x)
}

/** The four-way dot product with its sum in 32 bits: one instruction where the CPU has it. */
export function dots(n: i32, p: usize): void {
  const w = v128.load(p), x = v128.load(p, 16)
  let c0 = w, c1 = x, c2 = w, c3 = x, c4 = w, c5 = x, c6 = w, c7 = x, c8 = w, c9 = x, c10 = w, c11 = x
  for (let i = 0; i < n; i++) {
    for (let twice = 0; twice < 2; twice++) {
      c0 = dot4(c0, w, x), c1 = dot4(c1, w, x), c2 = dot4(c2, w, x), c3 = dot4(c3, w, x), c4 = dot4(c4, w, x), c5 = dot4(c5, w, x)
      c6 = dot4(c6, w, x), c7 = dot4(c7, w, x), c8 = dot4(c8, w, x), c9 = dot4(c9, w, x), c10 = dot4(c10, w, x), c11 = dot4(c11, w, x)
    }
  }
  v128.store(p, i32x4.add(i32x4.add(i32x4.add(c0, c1), i32x4.add(c2, c3)), i32x4.add(i32x4.add(i32x4.add(c4, c5), i32x4.add(c6, c7)), i32x4.add(i32x4.add(c8, c9), i32x4.add(c10, c11)))))
}
// @ts-ignore: decorator
@inline function dot4(c: v128, w: v128, x: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? i32x4.relaxed_dot_i8x16_i7x16_add_s(w, x, c) : i32x4.add(c, w)
}

/** The same with 8 products of 16 bits. */
export function words(n: i32, p: usize): void {
  const w = v128.load(p), x = v128.load(p, 16)
  let c0 = w, c1 = x, c2 = w, c3 = x, c4 = w, c5 = x, c6 = w, c7 = x, c8 = w, c9 = x, c10 = w, c11 = x
  for (let i = 0; i < n; i++) {
    for (let twice = 0; twice < 2; twice++) {
      c0 = dot16(c0, w, x), c1 = dot16(c1, w, x), c2 = dot16(c2, w, x), c3 = dot16(c3, w, x), c4 = dot16(c4, w, x), c5 = dot16(c5, w, x)
      c6 = dot16(c6, w, x), c7 = dot16(c7, w, x), c8 = dot16(c8, w, x), c9 = dot16(c9, w, x), c10 = dot16(c10, w, x), c11 = dot16(c11, w, x)
    }
  }
  v128.store(p, i32x4.add(i32x4.add(i32x4.add(c0, c1), i32x4.add(c2, c3)), i32x4.add(i32x4.add(i32x4.add(c4, c5), i32x4.add(c6, c7)), i32x4.add(i32x4.add(c8, c9), i32x4.add(c10, c11)))))
}
// @ts-ignore: decorator
@inline function dot16(c: v128, w: v128, x: v128): v128 {
  return i32x4.dot_i16x8_s(i32x4.add(c, w), x)
}

/** Reads `bytes` bytes, 64 a step. */
export function read(p: usize, bytes: usize): i32 {
  let c0 = i32x4.splat(0), c1 = i32x4.splat(0), c2 = i32x4.splat(0), c3 = i32x4.splat(0)
  for (const end = p + bytes; p < end; p += 64) {
    c0 = v128.xor(c0, v128.load(p)), c1 = v128.xor(c1, v128.load(p, 16)), c2 = v128.xor(c2, v128.load(p, 32)), c3 = v128.xor(c3, v128.load(p, 48))
  }
  return i32x4.extract_lane(v128.xor(v128.xor(c0, c1), v128.xor(c2, c3)), 0)
}
