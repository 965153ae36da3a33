import * as Job from './job'
import { endGroup, store } from './output'

/**
 * Int8 weights of one scale a row × many rows of activations with seven products of half the size in each direction instead
 * of eight (Strassen 1969, in Winograd's form with fifteen additions). Rows of activations are cut into top and bottom, K
 * into halves, and two blocks of weights are taken together. The sums have at most ten bits, so 16-bit products hold them;
 * 32-bit sums may wrap on the way, but arithmetic modulo 2^32 ends at the right sum: the result is exact.
 */

/** Bytes between the panels of weights, beside their size: equal distances of 2^k would fall on the same lines of the cache. */
const GAP: usize = 192

/**
 * The seven left operands `[rows / 2][K / 2]` from quantized activations, once for all threads: A11, A12, S4, A22, S1, S2, S3.
 * Padding below the last row becomes 0, or what an earlier product left there could wrap in 16 bits.
 */
export function splitRows(job: usize): void {
  const stride = Job.pointer(job, Job.ACT_STRIDE), k = Job.pointer(job, Job.GROUP)
  const rows = (Job.word(job, Job.M) + 7) & ~7, h = rows >> 1
  const act = Job.pointer(job, Job.ACT), size = <usize>h * k
  for (let m = Job.word(job, Job.M); m < rows; m++) memory.fill(act + <usize>m * stride, 0, k << 1)
  let to = Job.pointer(job, Job.SPLIT)
  for (let m = 0; m < h; m++) {
    let top = act + <usize>m * stride, bottom = top + <usize>h * stride
    for (const end = to + k; to < end; to += 16) {
      const a11 = v128.load(top), a12 = v128.load(top + k), a21 = v128.load(bottom), a22 = v128.load(bottom + k)
      const s1 = i16x8.add(a21, a22), s2 = i16x8.sub(s1, a11)
      v128.store(to, a11)
      v128.store(to + size, a12)
      v128.store(to + 2 * size, i16x8.sub(a12, s2))
      v128.store(to + 3 * size, a22)
      v128.store(to + 4 * size, s1)
      v128.store(to + 5 * size, s2)
      v128.store(to + 6 * size, i16x8.sub(a11, a21))
      top += 16
      bottom += 16
    }
  }
}

/** The seven right operands of two blocks: B11, B21, B22, −T4, T1, T2, T3, widened to 16 bits where they stand. */
function splitBlocks(k: usize, w: usize, blockBytes: usize, to: usize): void {
  const size = (k << 3) + GAP, half = k << 2
  for (const end = w + half; w < end; w += 8) {
    const b11 = v128.load8x8_s(w), b21 = v128.load8x8_s(w + half), b12 = v128.load8x8_s(w + blockBytes), b22 = v128.load8x8_s(w + blockBytes + half)
    const t1 = i16x8.sub(b12, b11), t2 = i16x8.sub(b22, t1)
    v128.store(to, b11)
    v128.store(to + size, b21)
    v128.store(to + 2 * size, b22)
    v128.store(to + 3 * size, i16x8.sub(b21, t2))
    v128.store(to + 4 * size, t1)
    v128.store(to + 5 * size, t2)
    v128.store(to + 6 * size, i16x8.sub(b22, b12))
    to += 16
  }
}

/** `c = from + a × w` for `rows` (a multiple of four) × eight results of depth `k`. */
function product(rows: i32, k: usize, a: usize, w: usize, from: usize, c: usize): void {
  for (let m = 0; m < rows; m += 4) {
    tile(a, k << 1, w, <i32>k >> 2, from, c)
    a += k << 3
    from += 128
    c += 128
  }
}

function tile(a: usize, stride: usize, w: usize, quads: i32, from: usize, c: usize): void {
  let a0 = a, a1 = a0 + stride, a2 = a1 + stride, a3 = a2 + stride
  let c00 = v128.load(from), c01 = v128.load(from, 16), c10 = v128.load(from, 32), c11 = v128.load(from, 48)
  let c20 = v128.load(from, 64), c21 = v128.load(from, 80), c30 = v128.load(from, 96), c31 = v128.load(from, 112)
  for (let q = 0; q < quads; q++) {
    let w0 = v128.load(w), w1 = v128.load(w, 32), x = v128.load32_splat(a0)
    c00 = i32x4.add(c00, i32x4.dot_i16x8_s(x, w0)), c01 = i32x4.add(c01, i32x4.dot_i16x8_s(x, w1))
    x = v128.load32_splat(a1)
    c10 = i32x4.add(c10, i32x4.dot_i16x8_s(x, w0)), c11 = i32x4.add(c11, i32x4.dot_i16x8_s(x, w1))
    x = v128.load32_splat(a2)
    c20 = i32x4.add(c20, i32x4.dot_i16x8_s(x, w0)), c21 = i32x4.add(c21, i32x4.dot_i16x8_s(x, w1))
    x = v128.load32_splat(a3)
    c30 = i32x4.add(c30, i32x4.dot_i16x8_s(x, w0)), c31 = i32x4.add(c31, i32x4.dot_i16x8_s(x, w1))
    w0 = v128.load(w, 16), w1 = v128.load(w, 48), x = v128.load32_splat(a0, 4)
    c00 = i32x4.add(c00, i32x4.dot_i16x8_s(x, w0)), c01 = i32x4.add(c01, i32x4.dot_i16x8_s(x, w1))
    x = v128.load32_splat(a1, 4)
    c10 = i32x4.add(c10, i32x4.dot_i16x8_s(x, w0)), c11 = i32x4.add(c11, i32x4.dot_i16x8_s(x, w1))
    x = v128.load32_splat(a2, 4)
    c20 = i32x4.add(c20, i32x4.dot_i16x8_s(x, w0)), c21 = i32x4.add(c21, i32x4.dot_i16x8_s(x, w1))
    x = v128.load32_splat(a3, 4)
    c30 = i32x4.add(c30, i32x4.dot_i16x8_s(x, w0)), c31 = i32x4.add(c31, i32x4.dot_i16x8_s(x, w1))
    w += 64
    a0 += 8
    a1 += 8
    a2 += 8
    a3 += 8
  }
  v128.store(c, c00), v128.store(c, c01, 16), v128.store(c, c10, 32), v128.store(c, c11, 48)
  v128.store(c, c20, 64), v128.store(c, c21, 80), v128.store(c, c30, 96), v128.store(c, c31, 112)
}

function add(bytes: usize, a: usize, b: usize, c: usize): void {
  for (let i: usize = 0; i < bytes; i += 16) v128.store(c + i, i32x4.add(v128.load(a + i), v128.load(b + i)))
}

/**
 * Blocks `from` and `from + 1` …, two at a time; returns the first block that was left over.
 * Scratch: 128 bytes a row of activations (rounded up to eight), then 7 · (8 K + {@link GAP}).
 */
export function gemmStrassen(job: usize, from: i32, to: i32, scratch: usize): i32 {
  const k = Job.pointer(job, Job.GROUP), half = k >> 1, blockBytes = Job.pointer(job, Job.BLOCK_BYTES)
  const rows = (Job.word(job, Job.M) + 7) & ~7, h = rows >> 1, bytes = <usize>h << 5
  const a = Job.pointer(job, Job.SPLIT), aSize = <usize>h * k, wSize = (k << 3) + GAP
  const zero = scratch, u = zero + bytes, v = u + bytes, t = v + bytes
  const c11 = t + bytes, c21 = c11 + bytes, c12 = c21 + bytes, c22 = c12 + bytes, w = c22 + bytes
  memory.fill(zero, 0, bytes)
  let block = from
  for (; block + 2 <= to; block += 2) {
    splitBlocks(k, Job.pointer(job, Job.CODES) + <usize>block * blockBytes, blockBytes, w)
    product(h, half, a, w, zero, u)
    product(h, half, a + aSize, w + wSize, u, c11)
    product(h, half, a + 5 * aSize, w + 5 * wSize, u, u)
    product(h, half, a + 6 * aSize, w + 6 * wSize, u, v)
    product(h, half, a + 4 * aSize, w + 4 * wSize, zero, t)
    add(bytes, v, t, c22)
    add(bytes, u, t, u)
    product(h, half, a + 2 * aSize, w + 2 * wSize, u, c12)
    product(h, half, a + 3 * aSize, w + 3 * wSize, v, c21)
    finishRows(job, block, c11)
    finishRows(job, block + 1, c12)
  }
  return block
}

/** Top and bottom rows of a block stand one after the other. */
function finishRows(job: usize, block: i32, d: usize): void {
  const table = <usize>block << 5, zeros = Job.pointer(job, Job.ZEROS), minima = Job.word(job, Job.MINIMA)
  const scale = Job.pointer(job, Job.SCALES) + table, zero = zeros + table
  let end = Job.pointer(job, Job.ENDS)
  for (let m = 0; m < Job.word(job, Job.M); m++) {
    store(job, block, m, endGroup(f32x4.splat(0), v128.load(d), end, scale, zeros, zero, minima), endGroup(f32x4.splat(0), v128.load(d, 16), end, scale + 16, zeros, zero + 16, minima))
    end += 8
    d += 32
  }
}
