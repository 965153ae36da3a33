import { fours16, highPairMask, lowPairMask, ones16, pairMask16 } from './constants'
import * as Job from './job'
import { endGroup, store } from './output'

/**
 * One row of activations × 2-bit codes (int2 as 0..3, ternary as 0..2). Byte `4r + j` of a vector holds
 * k = j, 4 + j, 8 + j, 12 + j from the low bits up.
 */
export function gemvQ2(job: usize, from: i32, to: i32): void {
  for (let m = 0; m < Job.word(job, Job.M); m++) {
    for (let block = from; block < to; block++) {
      if (ASC_FEATURE_RELAXED_SIMD) relaxed(job, block, m)
      else widened(job, block, m)
    }
  }
}

/** The lower field of each nibble. */
// @ts-ignore: decorator
@inline function low(acc: v128, w: v128, x0: v128, x2: v128, mask: v128): v128 {
  acc = i16x8.add(acc, i16x8.relaxed_dot_i8x16_i7x16_s(x0, v128.and(w, mask)))
  return i16x8.add(acc, i16x8.relaxed_dot_i8x16_i7x16_s(x2, v128.and(i16x8.shr_u(w, 4), mask)))
}
/**
 * The upper field of each nibble, multiplied where it stands, four times too large: that saves a shift and a mask.
 * `SUB` keeps this sum, at most 4 · 127 · code · SUB / 4, inside 16 bits.
 */
// @ts-ignore: decorator
@inline function high(acc: v128, w: v128, x1: v128, x3: v128, mask: v128): v128 {
  acc = i16x8.add(acc, i16x8.relaxed_dot_i8x16_i7x16_s(x1, v128.and(w, mask)))
  return i16x8.add(acc, i16x8.relaxed_dot_i8x16_i7x16_s(x3, v128.and(i16x8.shr_u(w, 4), mask)))
}

function relaxed(job: usize, block: i32, m: i32): void {
  const groups = Job.word(job, Job.GROUPS)
  const table = <usize>(block * groups) << 5
  const zeros = Job.pointer(job, Job.ZEROS), minima = Job.word(job, Job.MINIMA)
  let w = Job.pointer(job, Job.CODES) + <usize>block * Job.pointer(job, Job.BLOCK_BYTES)
  let a = Job.pointer(job, Job.ACT) + <usize>m * Job.pointer(job, Job.ACT_STRIDE)
  let init = Job.pointer(job, Job.INIT) + <usize>m * Job.pointer(job, Job.INIT_STRIDE)
  let end = Job.pointer(job, Job.ENDS) + (<usize>(m * groups) << 3)
  let scale = Job.pointer(job, Job.SCALES) + table
  let zero = zeros + table
  const subs = Job.word(job, Job.GROUP) / Job.word(job, Job.SUB), steps = Job.word(job, Job.SUB) >> 4
  const lows = lowPairMask(), highs = highPairMask()
  let y0 = f32x4.splat(0), y1 = f32x4.splat(0)
  for (let g = 0; g < groups; g++) {
    let d0 = i32x4.splat(0), d1 = i32x4.splat(0)
    for (let i = 0; i < subs; i++) {
      let l0 = v128.load32_splat(init), l1 = l0, h0 = i16x8.splat(0), h1 = i16x8.splat(0)
      for (let t = 0; t < steps; t++) {
        const x0 = v128.load32_splat(a), x1 = v128.load32_splat(a, 4), x2 = v128.load32_splat(a, 8), x3 = v128.load32_splat(a, 12)
        let v = v128.load(w)
        l0 = low(l0, v, x0, x2, lows)
        h0 = high(h0, v, x1, x3, highs)
        v = v128.load(w, 16)
        l1 = low(l1, v, x0, x2, lows)
        h1 = high(h1, v, x1, x3, highs)
        w += 32
        a += 16
      }
      d0 = i32x4.add(d0, i32x4.add(i32x4.dot_i16x8_s(l0, fours16()), i32x4.dot_i16x8_s(h0, ones16())))
      d1 = i32x4.add(d1, i32x4.add(i32x4.dot_i16x8_s(l1, fours16()), i32x4.dot_i16x8_s(h1, ones16())))
      init += 4
    }
    d0 = i32x4.shr_s(d0, 2)
    d1 = i32x4.shr_s(d1, 2)
    y0 = endGroup(y0, d0, end, scale, zeros, zero, minima)
    y1 = endGroup(y1, d1, end, scale + 16, zeros, zero + 16, minima)
    end += 8
    scale += 32
    zero += 32
  }
  store(job, block, m, y0, y1)
}

// @ts-ignore: decorator
@inline function quarter(acc: v128, w: v128, a: usize, mask: v128): v128 {
  acc = i32x4.add(acc, i32x4.dot_i16x8_s(v128.and(w, mask), v128.load32_splat(a)))
  return i32x4.add(acc, i32x4.dot_i16x8_s(v128.and(i16x8.shr_u(w, 8), mask), v128.load32_splat(a, 4)))
}

/** Without the relaxed dot product: eight fields of two bits in each 16-bit lane. */
function widened(job: usize, block: i32, m: i32): void {
  const groups = Job.word(job, Job.GROUPS)
  const table = <usize>(block * groups) << 5
  const zeros = Job.pointer(job, Job.ZEROS), minima = Job.word(job, Job.MINIMA)
  let w = Job.pointer(job, Job.CODES) + <usize>block * Job.pointer(job, Job.BLOCK_BYTES)
  let a = Job.pointer(job, Job.ACT) + <usize>m * Job.pointer(job, Job.ACT_STRIDE)
  let init = Job.pointer(job, Job.INIT) + <usize>m * Job.pointer(job, Job.INIT_STRIDE)
  let end = Job.pointer(job, Job.ENDS) + (<usize>(m * groups) << 3)
  let scale = Job.pointer(job, Job.SCALES) + table
  let zero = zeros + table
  const steps = Job.word(job, Job.GROUP) >> 4, mask = pairMask16()
  let y0 = f32x4.splat(0), y1 = f32x4.splat(0)
  for (let g = 0; g < groups; g++) {
    let d0 = v128.load32_splat(init), d1 = d0
    for (let i = 0; i < steps; i++) {
      const v0 = v128.load(w), v1 = v128.load(w, 16)
      d0 = quarter(d0, v0, a, mask)
      d1 = quarter(d1, v1, a, mask)
      d0 = quarter(d0, i16x8.shr_u(v0, 2), a + 8, mask)
      d1 = quarter(d1, i16x8.shr_u(v1, 2), a + 8, mask)
      d0 = quarter(d0, i16x8.shr_u(v0, 4), a + 16, mask)
      d1 = quarter(d1, i16x8.shr_u(v1, 4), a + 16, mask)
      d0 = quarter(d0, i16x8.shr_u(v0, 6), a + 24, mask)
      d1 = quarter(d1, i16x8.shr_u(v1, 6), a + 24, mask)
      w += 32
      a += 32
    }
    init += 4
    y0 = endGroup(y0, d0, end, scale, zeros, zero, minima)
    y1 = endGroup(y1, d1, end, scale + 16, zeros, zero + 16, minima)
    end += 8
    scale += 32
    zero += 32
  }
  store(job, block, m, y0, y1)
}
