import { fourthPairMask, highNibbleMask, highPairMask, lowPairMask, nibbleMask, thirdPairMask } from './constants'
import { dot } from './dot'
import * as Job from './job'
import { endGroup, store } from './output'

/**
 * One row of activations × codes of four and two bits by the four-way dot product, laid out as in `gemv-q4.ts` and
 * `gemv-q2.ts`. Where the second operand is unsigned an upper field is multiplied where it stands, 4, 16 or 64 times too
 * large, and the sum is shifted: one instruction for a field instead of two. Two blocks at a time share what is read of the activations.
 */
export function rowsByDot(job: usize, from: i32, to: i32, m: i32): void {
  const kind = Job.word(job, Job.KIND)
  let block = from
  if (kind == Job.Q4_DOT || kind == Job.Q4_UNSIGNED) {
    // each runs through a half of the rows: two streams that memory can foresee
    const half = (to - from) >> 1
    for (; block < from + half; block++) {
      if (kind == Job.Q4_UNSIGNED) pairUnsigned(job, block, block + half, m)
      else pairShifted(job, block, block + half, m)
    }
    block = from + 2 * half
    for (; block < to; block++) rowQ4(job, block, m)
  } else {
    for (; block < to; block++) {
      if (kind == Job.Q2_UNSIGNED) rowQ2Unsigned(job, block, m)
      else rowQ2(job, block, m)
    }
  }
}

/** 4-bit codes where the second operand is unsigned. */
function pairUnsigned(job: usize, block: i32, other: i32, m: i32): void {
  const groups = Job.word(job, Job.GROUPS), steps = Job.word(job, Job.GROUP) >> 4, bytes = Job.pointer(job, Job.BLOCK_BYTES)
  const table = <usize>groups << 5, far = <usize>(other - block) * table, zeros = Job.pointer(job, Job.ZEROS), minima = Job.word(job, Job.MINIMA)
  let w = Job.pointer(job, Job.CODES) + <usize>block * bytes, u = Job.pointer(job, Job.CODES) + <usize>other * bytes
  let a = Job.pointer(job, Job.ACT) + <usize>m * Job.pointer(job, Job.ACT_STRIDE)
  let init = Job.pointer(job, Job.INIT) + <usize>m * Job.pointer(job, Job.INIT_STRIDE)
  let end = Job.pointer(job, Job.ENDS) + (<usize>(m * groups) << 3)
  let scale = Job.pointer(job, Job.SCALES) + <usize>block * table, zero = zeros + <usize>block * table
  const low = nibbleMask(), high = highNibbleMask()
  let y0 = f32x4.splat(0), y1 = y0, y2 = y0, y3 = y0
  for (let g = 0; g < groups; g++) {
    let d0 = v128.load32_splat(init), d1 = d0, d2 = d0, d3 = d0, e0 = i32x4.splat(0), e1 = e0, e2 = e0, e3 = e0
    for (let i = 0; i < steps; i++) {
      let x0 = v128.load32_splat(a), x1 = v128.load32_splat(a, 4)
      let v = v128.load(w)
      d0 = dot(d0, x0, v128.and(v, low)), e0 = dot(e0, x1, v128.and(v, high))
      v = v128.load(w, 16)
      d1 = dot(d1, x0, v128.and(v, low)), e1 = dot(e1, x1, v128.and(v, high))
      v = v128.load(u)
      d2 = dot(d2, x0, v128.and(v, low)), e2 = dot(e2, x1, v128.and(v, high))
      v = v128.load(u, 16)
      d3 = dot(d3, x0, v128.and(v, low)), e3 = dot(e3, x1, v128.and(v, high))
      x0 = v128.load32_splat(a, 8), x1 = v128.load32_splat(a, 12)
      v = v128.load(w, 32)
      d0 = dot(d0, x0, v128.and(v, low)), e0 = dot(e0, x1, v128.and(v, high))
      v = v128.load(w, 48)
      d1 = dot(d1, x0, v128.and(v, low)), e1 = dot(e1, x1, v128.and(v, high))
      v = v128.load(u, 32)
      d2 = dot(d2, x0, v128.and(v, low)), e2 = dot(e2, x1, v128.and(v, high))
      v = v128.load(u, 48)
      d3 = dot(d3, x0, v128.and(v, low)), e3 = dot(e3, x1, v128.and(v, high))
      w += 64
      u += 64
      a += 16
    }
    d0 = i32x4.add(d0, i32x4.shr_s(e0, 4))
    d1 = i32x4.add(d1, i32x4.shr_s(e1, 4))
    d2 = i32x4.add(d2, i32x4.shr_s(e2, 4))
    d3 = i32x4.add(d3, i32x4.shr_s(e3, 4))
    y0 = endGroup(y0, d0, end, scale, zeros, zero, minima)
    y1 = endGroup(y1, d1, end, scale + 16, zeros, zero + 16, minima)
    y2 = endGroup(y2, d2, end, scale + far, zeros, zero + far, minima)
    y3 = endGroup(y3, d3, end, scale + far + 16, zeros, zero + far + 16, minima)
    init += 4
    end += 8
    scale += 32
    zero += 32
  }
  store(job, block, m, y0, y1)
  store(job, other, m, y2, y3)
}

/** 4-bit codes where it is not known to be. */
function pairShifted(job: usize, block: i32, other: i32, m: i32): void {
  const groups = Job.word(job, Job.GROUPS), steps = Job.word(job, Job.GROUP) >> 4, bytes = Job.pointer(job, Job.BLOCK_BYTES)
  const table = <usize>groups << 5, far = <usize>(other - block) * table, zeros = Job.pointer(job, Job.ZEROS), minima = Job.word(job, Job.MINIMA)
  let w = Job.pointer(job, Job.CODES) + <usize>block * bytes, u = Job.pointer(job, Job.CODES) + <usize>other * bytes
  let a = Job.pointer(job, Job.ACT) + <usize>m * Job.pointer(job, Job.ACT_STRIDE)
  let init = Job.pointer(job, Job.INIT) + <usize>m * Job.pointer(job, Job.INIT_STRIDE)
  let end = Job.pointer(job, Job.ENDS) + (<usize>(m * groups) << 3)
  let scale = Job.pointer(job, Job.SCALES) + <usize>block * table, zero = zeros + <usize>block * table
  const low = nibbleMask()
  let y0 = f32x4.splat(0), y1 = y0, y2 = y0, y3 = y0
  for (let g = 0; g < groups; g++) {
    let d0 = v128.load32_splat(init), d1 = d0, d2 = d0, d3 = d0, e0 = i32x4.splat(0), e1 = e0, e2 = e0, e3 = e0
    for (let i = 0; i < steps; i++) {
      let x0 = v128.load32_splat(a), x1 = v128.load32_splat(a, 4)
      let v = v128.load(w)
      d0 = dot(d0, x0, v128.and(v, low)), e0 = dot(e0, x1, v128.and(i16x8.shr_u(v, 4), low))
      v = v128.load(w, 16)
      d1 = dot(d1, x0, v128.and(v, low)), e1 = dot(e1, x1, v128.and(i16x8.shr_u(v, 4), low))
      v = v128.load(u)
      d2 = dot(d2, x0, v128.and(v, low)), e2 = dot(e2, x1, v128.and(i16x8.shr_u(v, 4), low))
      v = v128.load(u, 16)
      d3 = dot(d3, x0, v128.and(v, low)), e3 = dot(e3, x1, v128.and(i16x8.shr_u(v, 4), low))
      x0 = v128.load32_splat(a, 8), x1 = v128.load32_splat(a, 12)
      v = v128.load(w, 32)
      d0 = dot(d0, x0, v128.and(v, low)), e0 = dot(e0, x1, v128.and(i16x8.shr_u(v, 4), low))
      v = v128.load(w, 48)
      d1 = dot(d1, x0, v128.and(v, low)), e1 = dot(e1, x1, v128.and(i16x8.shr_u(v, 4), low))
      v = v128.load(u, 32)
      d2 = dot(d2, x0, v128.and(v, low)), e2 = dot(e2, x1, v128.and(i16x8.shr_u(v, 4), low))
      v = v128.load(u, 48)
      d3 = dot(d3, x0, v128.and(v, low)), e3 = dot(e3, x1, v128.and(i16x8.shr_u(v, 4), low))
      w += 64
      u += 64
      a += 16
    }
    d0 = i32x4.add(d0, e0)
    d1 = i32x4.add(d1, e1)
    d2 = i32x4.add(d2, e2)
    d3 = i32x4.add(d3, e3)
    y0 = endGroup(y0, d0, end, scale, zeros, zero, minima)
    y1 = endGroup(y1, d1, end, scale + 16, zeros, zero + 16, minima)
    y2 = endGroup(y2, d2, end, scale + far, zeros, zero + far, minima)
    y3 = endGroup(y3, d3, end, scale + far + 16, zeros, zero + far + 16, minima)
    init += 4
    end += 8
    scale += 32
    zero += 32
  }
  store(job, block, m, y0, y1)
  store(job, other, m, y2, y3)
}

/** The last block, if their number is odd. */
function rowQ4(job: usize, block: i32, m: i32): void {
  const groups = Job.word(job, Job.GROUPS), steps = Job.word(job, Job.GROUP) >> 4
  const table = <usize>(block * groups) << 5, zeros = Job.pointer(job, Job.ZEROS), minima = Job.word(job, Job.MINIMA)
  let w = Job.pointer(job, Job.CODES) + <usize>block * Job.pointer(job, Job.BLOCK_BYTES)
  let a = Job.pointer(job, Job.ACT) + <usize>m * Job.pointer(job, Job.ACT_STRIDE)
  let init = Job.pointer(job, Job.INIT) + <usize>m * Job.pointer(job, Job.INIT_STRIDE)
  let end = Job.pointer(job, Job.ENDS) + (<usize>(m * groups) << 3)
  let scale = Job.pointer(job, Job.SCALES) + table, zero = zeros + table
  const mask = nibbleMask()
  let y0 = f32x4.splat(0), y1 = f32x4.splat(0)
  for (let g = 0; g < groups; g++) {
    let d0 = v128.load32_splat(init), d1 = d0, e0 = i32x4.splat(0), e1 = i32x4.splat(0)
    for (let i = 0; i < steps; i++) {
      let w0 = v128.load(w), w1 = v128.load(w, 16), x0 = v128.load32_splat(a), x1 = v128.load32_splat(a, 4)
      d0 = dot(d0, x0, v128.and(w0, mask))
      d1 = dot(d1, x0, v128.and(w1, mask))
      e0 = dot(e0, x1, v128.and(i16x8.shr_u(w0, 4), mask))
      e1 = dot(e1, x1, v128.and(i16x8.shr_u(w1, 4), mask))
      w0 = v128.load(w, 32), w1 = v128.load(w, 48), x0 = v128.load32_splat(a, 8), x1 = v128.load32_splat(a, 12)
      d0 = dot(d0, x0, v128.and(w0, mask))
      d1 = dot(d1, x0, v128.and(w1, mask))
      e0 = dot(e0, x1, v128.and(i16x8.shr_u(w0, 4), mask))
      e1 = dot(e1, x1, v128.and(i16x8.shr_u(w1, 4), mask))
      w += 64
      a += 16
    }
    d0 = i32x4.add(d0, e0)
    d1 = i32x4.add(d1, e1)
    y0 = endGroup(y0, d0, end, scale, zeros, zero, minima)
    y1 = endGroup(y1, d1, end, scale + 16, zeros, zero + 16, minima)
    init += 4
    end += 8
    scale += 32
    zero += 32
  }
  store(job, block, m, y0, y1)
}

/** 2-bit codes, each shifted down. */
function rowQ2(job: usize, block: i32, m: i32): void {
  const groups = Job.word(job, Job.GROUPS), steps = Job.word(job, Job.GROUP) >> 4
  const table = <usize>(block * groups) << 5, zeros = Job.pointer(job, Job.ZEROS), minima = Job.word(job, Job.MINIMA)
  let w = Job.pointer(job, Job.CODES) + <usize>block * Job.pointer(job, Job.BLOCK_BYTES)
  let a = Job.pointer(job, Job.ACT) + <usize>m * Job.pointer(job, Job.ACT_STRIDE)
  let init = Job.pointer(job, Job.INIT) + <usize>m * Job.pointer(job, Job.INIT_STRIDE)
  let end = Job.pointer(job, Job.ENDS) + (<usize>(m * groups) << 3)
  let scale = Job.pointer(job, Job.SCALES) + table, zero = zeros + table
  const mask = lowPairMask()
  let y0 = f32x4.splat(0), y1 = f32x4.splat(0)
  for (let g = 0; g < groups; g++) {
    let d0 = v128.load32_splat(init), d1 = d0, e0 = i32x4.splat(0), e1 = i32x4.splat(0)
    for (let i = 0; i < steps; i++) {
      const w0 = v128.load(w), w1 = v128.load(w, 16)
      let x0 = v128.load32_splat(a), x1 = v128.load32_splat(a, 4)
      d0 = dot(d0, x0, v128.and(w0, mask))
      d1 = dot(d1, x0, v128.and(w1, mask))
      e0 = dot(e0, x1, v128.and(i16x8.shr_u(w0, 2), mask))
      e1 = dot(e1, x1, v128.and(i16x8.shr_u(w1, 2), mask))
      x0 = v128.load32_splat(a, 8), x1 = v128.load32_splat(a, 12)
      d0 = dot(d0, x0, v128.and(i16x8.shr_u(w0, 4), mask))
      d1 = dot(d1, x0, v128.and(i16x8.shr_u(w1, 4), mask))
      e0 = dot(e0, x1, v128.and(i16x8.shr_u(w0, 6), mask))
      e1 = dot(e1, x1, v128.and(i16x8.shr_u(w1, 6), mask))
      w += 32
      a += 16
    }
    d0 = i32x4.add(d0, e0)
    d1 = i32x4.add(d1, e1)
    y0 = endGroup(y0, d0, end, scale, zeros, zero, minima)
    y1 = endGroup(y1, d1, end, scale + 16, zeros, zero + 16, minima)
    init += 4
    end += 8
    scale += 32
    zero += 32
  }
  store(job, block, m, y0, y1)
}

/** 2-bit codes where the second operand is unsigned. */
function rowQ2Unsigned(job: usize, block: i32, m: i32): void {
  const groups = Job.word(job, Job.GROUPS), steps = Job.word(job, Job.GROUP) >> 4
  const table = <usize>(block * groups) << 5, zeros = Job.pointer(job, Job.ZEROS), minima = Job.word(job, Job.MINIMA)
  let w = Job.pointer(job, Job.CODES) + <usize>block * Job.pointer(job, Job.BLOCK_BYTES)
  let a = Job.pointer(job, Job.ACT) + <usize>m * Job.pointer(job, Job.ACT_STRIDE)
  let init = Job.pointer(job, Job.INIT) + <usize>m * Job.pointer(job, Job.INIT_STRIDE)
  let end = Job.pointer(job, Job.ENDS) + (<usize>(m * groups) << 3)
  let scale = Job.pointer(job, Job.SCALES) + table, zero = zeros + table
  const first = lowPairMask(), second = highPairMask(), third = thirdPairMask(), fourth = fourthPairMask()
  let y0 = f32x4.splat(0), y1 = f32x4.splat(0)
  for (let g = 0; g < groups; g++) {
    let d0 = v128.load32_splat(init), d1 = d0, e0 = i32x4.splat(0), e1 = e0, f0 = e0, f1 = e0, h0 = e0, h1 = e0
    for (let i = 0; i < steps; i++) {
      const w0 = v128.load(w), w1 = v128.load(w, 16)
      let x = v128.load32_splat(a)
      d0 = dot(d0, x, v128.and(w0, first)), d1 = dot(d1, x, v128.and(w1, first))
      x = v128.load32_splat(a, 4)
      e0 = dot(e0, x, v128.and(w0, second)), e1 = dot(e1, x, v128.and(w1, second))
      x = v128.load32_splat(a, 8)
      f0 = dot(f0, x, v128.and(w0, third)), f1 = dot(f1, x, v128.and(w1, third))
      x = v128.load32_splat(a, 12)
      h0 = dot(h0, x, v128.and(w0, fourth)), h1 = dot(h1, x, v128.and(w1, fourth))
      w += 32
      a += 16
    }
    d0 = i32x4.add(i32x4.add(d0, i32x4.shr_s(e0, 2)), i32x4.add(i32x4.shr_s(f0, 4), i32x4.shr_s(h0, 6)))
    d1 = i32x4.add(i32x4.add(d1, i32x4.shr_s(e1, 2)), i32x4.add(i32x4.shr_s(f1, 4), i32x4.shr_s(h1, 6)))
    y0 = endGroup(y0, d0, end, scale, zeros, zero, minima)
    y1 = endGroup(y1, d1, end, scale + 16, zeros, zero + 16, minima)
    init += 4
    end += 8
    scale += 32
    zero += 32
  }
  store(job, block, m, y0, y1)
}
