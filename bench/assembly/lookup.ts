// The lookup-table kernel (T-MAC) for ternary weights, exact: an index of four bits stands for two codes, a table of sixteen
// entries for what they make of two activations, as 16 · high + low so that eight lookups add up in a byte.

/** Sixteen rows of indices `[K / 4][16 rows]` a block; tables `[K / 2][low 16, high 16]`; results i32 `[blocks][16]`. */
export function lookup(blocks: i32, steps: i32, w: usize, tables: usize, out: usize, constants: usize): void {
  const mask = v128.load(constants)
  for (let b = 0; b < blocks; b++) {
    let t = tables
    let l0 = i16x8.splat(0), l1 = i16x8.splat(0), s0 = i32x4.splat(0), s1 = i32x4.splat(0), s2 = i32x4.splat(0), s3 = i32x4.splat(0)
    for (let i = 0; i < steps; i += 4) {
      let v = v128.load(w), even = v128.and(v, mask), odd = v128.and(i16x8.shr_u(v, 4), mask)
      let low = i8x16.add(i8x16.relaxed_swizzle(v128.load(t), even), i8x16.relaxed_swizzle(v128.load(t, 32), odd))
      let high = i8x16.add(i8x16.relaxed_swizzle(v128.load(t, 16), even), i8x16.relaxed_swizzle(v128.load(t, 48), odd))
      v = v128.load(w, 16), even = v128.and(v, mask), odd = v128.and(i16x8.shr_u(v, 4), mask)
      low = i8x16.add(i8x16.add(low, i8x16.relaxed_swizzle(v128.load(t, 64), even)), i8x16.relaxed_swizzle(v128.load(t, 96), odd))
      high = i8x16.add(i8x16.add(high, i8x16.relaxed_swizzle(v128.load(t, 80), even)), i8x16.relaxed_swizzle(v128.load(t, 112), odd))
      v = v128.load(w, 32), even = v128.and(v, mask), odd = v128.and(i16x8.shr_u(v, 4), mask)
      low = i8x16.add(i8x16.add(low, i8x16.relaxed_swizzle(v128.load(t, 128), even)), i8x16.relaxed_swizzle(v128.load(t, 160), odd))
      high = i8x16.add(i8x16.add(high, i8x16.relaxed_swizzle(v128.load(t, 144), even)), i8x16.relaxed_swizzle(v128.load(t, 176), odd))
      v = v128.load(w, 48), even = v128.and(v, mask), odd = v128.and(i16x8.shr_u(v, 4), mask)
      low = i8x16.add(i8x16.add(low, i8x16.relaxed_swizzle(v128.load(t, 192), even)), i8x16.relaxed_swizzle(v128.load(t, 224), odd))
      high = i8x16.add(i8x16.add(high, i8x16.relaxed_swizzle(v128.load(t, 208), even)), i8x16.relaxed_swizzle(v128.load(t, 240), odd))
      // at most 8 · 15 and 8 · ±16: |16 · high + low| < 2^12, so eight such sums fit in 16 bits
      l0 = i16x8.add(i16x8.extend_low_i8x16_u(low), i16x8.shl(i16x8.extend_low_i8x16_s(high), 4))
      l1 = i16x8.add(i16x8.extend_high_i8x16_u(low), i16x8.shl(i16x8.extend_high_i8x16_s(high), 4))
      s0 = i32x4.add(s0, i32x4.extend_low_i16x8_s(l0)), s1 = i32x4.add(s1, i32x4.extend_high_i16x8_s(l0))
      s2 = i32x4.add(s2, i32x4.extend_low_i16x8_s(l1)), s3 = i32x4.add(s3, i32x4.extend_high_i16x8_s(l1))
      w += 64
      t += 256
    }
    v128.store(out, s0), v128.store(out, s1, 16), v128.store(out, s2, 32), v128.store(out, s3, 48)
    out += 64
  }
}
