import { nibbleMask, nibbleMask16, ones16 } from './constants'
import * as Job from './job'
import { addGroup, endGroup, store } from './output'

/**
 * One row of activations × 4-bit codes. Eight rows of weights stand in the lanes of two vectors, four codes each:
 * byte `4r + j` of a vector holds k = j in its low and k = 4 + j in its high nibble.
 */
export function gemvQ4(job: usize, from: i32, to: i32): void {
  const pairs = ASC_FEATURE_RELAXED_SIMD && Job.word(job, Job.SUB) == 32 && Job.word(job, Job.GROUP) == 32 && (!Job.pointer(job, Job.ZEROS) || (Job.word(job, Job.MINIMA) && !Job.word(job, Job.OFFSET)))
  for (let m = 0; m < Job.word(job, Job.M); m++) {
    let block = from
    if (pairs) {
      // each runs through a half of the rows: two streams that memory can foresee
      const half = (to - from) >> 1
      for (; block < from + half; block++) {
        if (Job.pointer(job, Job.ZEROS)) pairMinima(job, block, block + half, m)
        else pair(job, block, block + half, m)
      }
      block = from + 2 * half
    }
    for (; block < to; block++) {
      if (!ASC_FEATURE_RELAXED_SIMD) widened(job, block, m)
      else if (Job.word(job, Job.SUB) == 32) relaxed32(job, block, m)
      else relaxed16(job, block, m)
    }
  }
}

/** Code 0..15 × int8: a pair of products is at most 2·15·127, so eight of them fit in a 16-bit lane: `SUB` is 32 or 16. */
// @ts-ignore: decorator
@inline function first(w: usize, x0: v128, x1: v128, mask: v128): v128 {
  const v = v128.load(w)
  return i16x8.add(i16x8.relaxed_dot_i8x16_i7x16_s(x0, v128.and(v, mask)), i16x8.relaxed_dot_i8x16_i7x16_s(x1, v128.and(i16x8.shr_u(v, 4), mask)))
}
// @ts-ignore: decorator
@inline function next(acc: v128, w: usize, x0: v128, x1: v128, mask: v128): v128 {
  const v = v128.load(w)
  acc = i16x8.add(acc, i16x8.relaxed_dot_i8x16_i7x16_s(x0, v128.and(v, mask)))
  return i16x8.add(acc, i16x8.relaxed_dot_i8x16_i7x16_s(x1, v128.and(i16x8.shr_u(v, 4), mask)))
}

/** Eight codes of eight rows, twice: groups of 32 of two blocks, which share what is read of the activations. */
function pair(job: usize, block: i32, other: i32, m: i32): void {
  const bytes = Job.pointer(job, Job.BLOCK_BYTES), groups = Job.word(job, Job.GROUPS), table = <usize>groups << 5
  let w = Job.pointer(job, Job.CODES) + <usize>block * bytes, u = Job.pointer(job, Job.CODES) + <usize>other * bytes
  let a = Job.pointer(job, Job.ACT) + <usize>m * Job.pointer(job, Job.ACT_STRIDE)
  let start = Job.pointer(job, Job.INIT) + <usize>m * Job.pointer(job, Job.INIT_STRIDE)
  let s = Job.pointer(job, Job.SCALES) + <usize>block * table, t = Job.pointer(job, Job.SCALES) + <usize>other * table
  let end = Job.pointer(job, Job.ENDS) + (<usize>(m * groups) << 3)
  const mask = nibbleMask(), ones = ones16()
  let y0 = f32x4.splat(0), y1 = y0, y2 = y0, y3 = y0
  for (let g = groups; g > 0; g--) {
    let x0 = v128.load32_splat(a), x1 = v128.load32_splat(a, 4)
    let c0 = first(w, x0, x1, mask), c1 = first(w + 16, x0, x1, mask), c2 = first(u, x0, x1, mask), c3 = first(u + 16, x0, x1, mask)
    x0 = v128.load32_splat(a, 8), x1 = v128.load32_splat(a, 12)
    c0 = next(c0, w + 32, x0, x1, mask), c1 = next(c1, w + 48, x0, x1, mask), c2 = next(c2, u + 32, x0, x1, mask), c3 = next(c3, u + 48, x0, x1, mask)
    x0 = v128.load32_splat(a, 16), x1 = v128.load32_splat(a, 20)
    c0 = next(c0, w + 64, x0, x1, mask), c1 = next(c1, w + 80, x0, x1, mask), c2 = next(c2, u + 64, x0, x1, mask), c3 = next(c3, u + 80, x0, x1, mask)
    x0 = v128.load32_splat(a, 24), x1 = v128.load32_splat(a, 28)
    c0 = next(c0, w + 96, x0, x1, mask), c1 = next(c1, w + 112, x0, x1, mask), c2 = next(c2, u + 96, x0, x1, mask), c3 = next(c3, u + 112, x0, x1, mask)
    const i = v128.load32_splat(start), by = v128.load32_splat(end)
    y0 = addGroup(y0, i32x4.dot_i16x8_s(i16x8.add(c0, i), ones), by, s)
    y1 = addGroup(y1, i32x4.dot_i16x8_s(i16x8.add(c1, i), ones), by, s + 16)
    y2 = addGroup(y2, i32x4.dot_i16x8_s(i16x8.add(c2, i), ones), by, t)
    y3 = addGroup(y3, i32x4.dot_i16x8_s(i16x8.add(c3, i), ones), by, t + 16)
    w += 128
    u += 128
    a += 32
    s += 32
    t += 32
    start += 4
    end += 8
  }
  store(job, block, m, y0, y1)
  store(job, other, m, y2, y3)
}

/** The same with minima, whose codes begin at 0: no start is needed. */
function pairMinima(job: usize, block: i32, other: i32, m: i32): void {
  const bytes = Job.pointer(job, Job.BLOCK_BYTES), groups = Job.word(job, Job.GROUPS), table = <usize>groups << 5
  let w = Job.pointer(job, Job.CODES) + <usize>block * bytes, u = Job.pointer(job, Job.CODES) + <usize>other * bytes
  let a = Job.pointer(job, Job.ACT) + <usize>m * Job.pointer(job, Job.ACT_STRIDE)
  let end = Job.pointer(job, Job.ENDS) + (<usize>(m * groups) << 3)
  let s = Job.pointer(job, Job.SCALES) + <usize>block * table, t = Job.pointer(job, Job.SCALES) + <usize>other * table
  let zero = Job.pointer(job, Job.ZEROS) + <usize>block * table, far = Job.pointer(job, Job.ZEROS) + <usize>other * table
  const mask = nibbleMask(), ones = ones16()
  let y0 = f32x4.splat(0), y1 = y0, y2 = y0, y3 = y0
  for (let g = groups; g > 0; g--) {
    let x0 = v128.load32_splat(a), x1 = v128.load32_splat(a, 4)
    let c0 = first(w, x0, x1, mask), c1 = first(w + 16, x0, x1, mask), c2 = first(u, x0, x1, mask), c3 = first(u + 16, x0, x1, mask)
    x0 = v128.load32_splat(a, 8), x1 = v128.load32_splat(a, 12)
    c0 = next(c0, w + 32, x0, x1, mask), c1 = next(c1, w + 48, x0, x1, mask), c2 = next(c2, u + 32, x0, x1, mask), c3 = next(c3, u + 48, x0, x1, mask)
    x0 = v128.load32_splat(a, 16), x1 = v128.load32_splat(a, 20)
    c0 = next(c0, w + 64, x0, x1, mask), c1 = next(c1, w + 80, x0, x1, mask), c2 = next(c2, u + 64, x0, x1, mask), c3 = next(c3, u + 80, x0, x1, mask)
    x0 = v128.load32_splat(a, 24), x1 = v128.load32_splat(a, 28)
    c0 = next(c0, w + 96, x0, x1, mask), c1 = next(c1, w + 112, x0, x1, mask), c2 = next(c2, u + 96, x0, x1, mask), c3 = next(c3, u + 112, x0, x1, mask)
    const by = v128.load32_splat(end), sum = v128.load32_splat(end, 4)
    y0 = f32x4.add(addGroup(y0, i32x4.dot_i16x8_s(c0, ones), by, s), f32x4.mul(v128.load(zero), sum))
    y1 = f32x4.add(addGroup(y1, i32x4.dot_i16x8_s(c1, ones), by, s + 16), f32x4.mul(v128.load(zero, 16), sum))
    y2 = f32x4.add(addGroup(y2, i32x4.dot_i16x8_s(c2, ones), by, t), f32x4.mul(v128.load(far), sum))
    y3 = f32x4.add(addGroup(y3, i32x4.dot_i16x8_s(c3, ones), by, t + 16), f32x4.mul(v128.load(far, 16), sum))
    w += 128
    u += 128
    a += 32
    s += 32
    t += 32
    end += 8
    zero += 32
    far += 32
  }
  store(job, block, m, y0, y1)
  store(job, other, m, y2, y3)
}

function relaxed32(job: usize, block: i32, m: i32): void {
  const groups = Job.word(job, Job.GROUPS)
  const table = <usize>(block * groups) << 5
  const zeros = Job.pointer(job, Job.ZEROS), minima = Job.word(job, Job.MINIMA)
  let w = Job.pointer(job, Job.CODES) + <usize>block * Job.pointer(job, Job.BLOCK_BYTES)
  let a = Job.pointer(job, Job.ACT) + <usize>m * Job.pointer(job, Job.ACT_STRIDE)
  let init = Job.pointer(job, Job.INIT) + <usize>m * Job.pointer(job, Job.INIT_STRIDE)
  let end = Job.pointer(job, Job.ENDS) + (<usize>(m * groups) << 3)
  let scale = Job.pointer(job, Job.SCALES) + table
  let zero = zeros + table
  const subs = Job.word(job, Job.GROUP) >> 5
  const mask = nibbleMask(), ones = ones16()
  let y0 = f32x4.splat(0), y1 = f32x4.splat(0)
  for (let g = 0; g < groups; g++) {
    let d0 = i32x4.splat(0), d1 = i32x4.splat(0)
    for (let i = 0; i < subs; i++) {
      const start = v128.load32_splat(init)
      let x0 = v128.load32_splat(a), x1 = v128.load32_splat(a, 4)
      let c0 = i16x8.add(start, first(w, x0, x1, mask)), c1 = i16x8.add(start, first(w + 16, x0, x1, mask))
      x0 = v128.load32_splat(a, 8), x1 = v128.load32_splat(a, 12)
      c0 = next(c0, w + 32, x0, x1, mask), c1 = next(c1, w + 48, x0, x1, mask)
      x0 = v128.load32_splat(a, 16), x1 = v128.load32_splat(a, 20)
      c0 = next(c0, w + 64, x0, x1, mask), c1 = next(c1, w + 80, x0, x1, mask)
      x0 = v128.load32_splat(a, 24), x1 = v128.load32_splat(a, 28)
      c0 = next(c0, w + 96, x0, x1, mask), c1 = next(c1, w + 112, x0, x1, mask)
      d0 = i32x4.add(d0, i32x4.dot_i16x8_s(c0, ones))
      d1 = i32x4.add(d1, i32x4.dot_i16x8_s(c1, ones))
      w += 128
      a += 32
      init += 4
    }
    y0 = endGroup(y0, d0, end, scale, zeros, zero, minima)
    y1 = endGroup(y1, d1, end, scale + 16, zeros, zero + 16, minima)
    end += 8
    scale += 32
    zero += 32
  }
  store(job, block, m, y0, y1)
}

/** Groups of 16, or that end in a half of 32: half the unrolling. */
function relaxed16(job: usize, block: i32, m: i32): void {
  const groups = Job.word(job, Job.GROUPS)
  const table = <usize>(block * groups) << 5
  const zeros = Job.pointer(job, Job.ZEROS), minima = Job.word(job, Job.MINIMA)
  let w = Job.pointer(job, Job.CODES) + <usize>block * Job.pointer(job, Job.BLOCK_BYTES)
  let a = Job.pointer(job, Job.ACT) + <usize>m * Job.pointer(job, Job.ACT_STRIDE)
  let init = Job.pointer(job, Job.INIT) + <usize>m * Job.pointer(job, Job.INIT_STRIDE)
  let end = Job.pointer(job, Job.ENDS) + (<usize>(m * groups) << 3)
  let scale = Job.pointer(job, Job.SCALES) + table
  let zero = zeros + table
  const subs = Job.word(job, Job.GROUP) >> 4
  const mask = nibbleMask(), ones = ones16()
  let y0 = f32x4.splat(0), y1 = f32x4.splat(0)
  for (let g = 0; g < groups; g++) {
    let d0 = i32x4.splat(0), d1 = i32x4.splat(0)
    for (let i = 0; i < subs; i++) {
      const start = v128.load32_splat(init)
      let x0 = v128.load32_splat(a), x1 = v128.load32_splat(a, 4)
      let c0 = i16x8.add(start, first(w, x0, x1, mask)), c1 = i16x8.add(start, first(w + 16, x0, x1, mask))
      x0 = v128.load32_splat(a, 8), x1 = v128.load32_splat(a, 12)
      c0 = next(c0, w + 32, x0, x1, mask), c1 = next(c1, w + 48, x0, x1, mask)
      d0 = i32x4.add(d0, i32x4.dot_i16x8_s(c0, ones))
      d1 = i32x4.add(d1, i32x4.dot_i16x8_s(c1, ones))
      w += 64
      a += 16
      init += 4
    }
    y0 = endGroup(y0, d0, end, scale, zeros, zero, minima)
    y1 = endGroup(y1, d1, end, scale + 16, zeros, zero + 16, minima)
    end += 8
    scale += 32
    zero += 32
  }
  store(job, block, m, y0, y1)
}

/**
 * Without the relaxed dot product each 16-bit lane holds four nibbles, cut out by shifts and multiplied with activations
 * of 16 bits in the order the shifts bring: 0, 2, 1, 3 of each four.
 */
// @ts-ignore: decorator
@inline function step(acc: v128, w: usize, x0: v128, x1: v128, x2: v128, x3: v128, mask: v128): v128 {
  const v = v128.load(w)
  acc = i32x4.add(acc, i32x4.dot_i16x8_s(v128.and(v, mask), x0))
  acc = i32x4.add(acc, i32x4.dot_i16x8_s(v128.and(i16x8.shr_u(v, 8), mask), x1))
  acc = i32x4.add(acc, i32x4.dot_i16x8_s(v128.and(i16x8.shr_u(v, 4), mask), x2))
  return i32x4.add(acc, i32x4.dot_i16x8_s(i16x8.shr_u(v, 12), x3))
}

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
  const steps = Job.word(job, Job.GROUP) >> 4, mask = nibbleMask16()
  let y0 = f32x4.splat(0), y1 = f32x4.splat(0)
  for (let g = 0; g < groups; g++) {
    let d0 = v128.load32_splat(init), d1 = d0
    for (let i = 0; i < steps; i++) {
      let x0 = v128.load32_splat(a), x1 = v128.load32_splat(a, 4), x2 = v128.load32_splat(a, 8), x3 = v128.load32_splat(a, 12)
      d0 = step(d0, w, x0, x1, x2, x3, mask)
      d1 = step(d1, w + 16, x0, x1, x2, x3, mask)
      x0 = v128.load32_splat(a, 16), x1 = v128.load32_splat(a, 20), x2 = v128.load32_splat(a, 24), x3 = v128.load32_splat(a, 28)
      d0 = step(d0, w + 32, x0, x1, x2, x3, mask)
      d1 = step(d1, w + 48, x0, x1, x2, x3, mask)
      w += 64
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
