import { ones16 } from './constants'
import { gemmStrassen } from './gemm-strassen'
import * as Job from './job'
import { endTile, endTileMinima, endTilePlain, store } from './output'
import { unpackBytes, unpackWords } from './unpack'

/** Scratch before the unpacked codes: float sums of a tile, 32-bit sums of a tile. */
const TILE: usize = 256

/**
 * Several rows of activations × integer codes: eight rows of weights are unpacked once into scratch memory, then tiles
 * of four activation rows × eight weight rows run over them with all sums in registers.
 * Scratch: {@link TILE} bytes, then 16 bytes a column (one byte or two a code).
 */
export function gemm(job: usize, from: i32, to: i32, scratch: usize): void {
  const kind = Job.word(job, Job.KIND), rows = Job.word(job, Job.M)
  const codes = Job.word(job, Job.GROUPS) * Job.word(job, Job.GROUP)
  const unpacked = scratch + TILE
  for (let block = Job.pointer(job, Job.SPLIT) ? gemmStrassen(job, from, to, scratch) : from; block < to; block++) {
    const packed = Job.pointer(job, Job.CODES) + <usize>block * Job.pointer(job, Job.BLOCK_BYTES)
    if (ASC_FEATURE_RELAXED_SIMD && kind != Job.Q8) {
      unpackBytes(kind, packed, codes, unpacked)
      const plain = Job.word(job, Job.GROUP) == Job.word(job, Job.SUB) && (!Job.pointer(job, Job.ZEROS) || Job.word(job, Job.MINIMA))
      for (let m = 0; m < rows; m += 4) {
        if (plain) tileGroups(job, block, m, unpacked, scratch)
        else tileBytes(job, block, m, unpacked, scratch)
      }
    } else {
      unpackWords(kind, packed, codes, unpacked)
      for (let m = 0; m < rows; m += 4) tileWords(job, block, m, unpacked, scratch)
    }
  }
}

// @ts-ignore: decorator
@inline function finishTile(job: usize, block: i32, m: i32, y: usize): void {
  for (let i = 0; i < 4; i++) {
    store(job, block, m + i, v128.load(y), v128.load(y, 16))
    y += 32
  }
}

/** 16-bit sums over `SUB` codes; 32-bit sums over the group, in memory, where a group has several `SUB`. */
function tileBytes(job: usize, block: i32, m: i32, w: usize, y: usize): void {
  const groups = Job.word(job, Job.GROUPS)
  const stride = Job.pointer(job, Job.ACT_STRIDE), initStride = Job.pointer(job, Job.INIT_STRIDE)
  let a0 = Job.pointer(job, Job.ACT) + <usize>m * stride
  let a1 = a0 + stride, a2 = a1 + stride, a3 = a2 + stride
  let i0 = Job.pointer(job, Job.INIT) + <usize>m * initStride
  let i1 = i0 + initStride, i2 = i1 + initStride, i3 = i2 + initStride
  const row = <usize>groups << 3
  let end = Job.pointer(job, Job.ENDS) + <usize>m * row
  const table = <usize>(block * groups) << 5
  let scale = Job.pointer(job, Job.SCALES) + table
  const zeros = Job.pointer(job, Job.ZEROS), minima = Job.word(job, Job.MINIMA)
  let zero = zeros + table
  const subs = Job.word(job, Job.GROUP) / Job.word(job, Job.SUB), quads = Job.word(job, Job.SUB) >> 4
  const wide = y + 128
  const ones = ones16()
  memory.fill(y, 0, 128)
  for (let g = 0; g < groups; g++) {
    if (subs > 1) memory.fill(wide, 0, 128)
    for (let i = 0; i < subs; i++) {
      let c00 = v128.load32_splat(i0), c01 = c00
      let c10 = v128.load32_splat(i1), c11 = c10
      let c20 = v128.load32_splat(i2), c21 = c20
      let c30 = v128.load32_splat(i3), c31 = c30
      i0 += 4
      i1 += 4
      i2 += 4
      i3 += 4
      for (let q = 0; q < quads; q++) {
        let w0 = v128.load(w), w1 = v128.load(w, 16), x = v128.load32_splat(a0)
        c00 = i16x8.add(c00, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c01 = i16x8.add(c01, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
        x = v128.load32_splat(a1)
        c10 = i16x8.add(c10, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c11 = i16x8.add(c11, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
        x = v128.load32_splat(a2)
        c20 = i16x8.add(c20, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c21 = i16x8.add(c21, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
        x = v128.load32_splat(a3)
        c30 = i16x8.add(c30, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c31 = i16x8.add(c31, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
        w0 = v128.load(w, 32), w1 = v128.load(w, 48), x = v128.load32_splat(a0, 4)
        c00 = i16x8.add(c00, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c01 = i16x8.add(c01, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
        x = v128.load32_splat(a1, 4)
        c10 = i16x8.add(c10, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c11 = i16x8.add(c11, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
        x = v128.load32_splat(a2, 4)
        c20 = i16x8.add(c20, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c21 = i16x8.add(c21, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
        x = v128.load32_splat(a3, 4)
        c30 = i16x8.add(c30, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c31 = i16x8.add(c31, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
        w0 = v128.load(w, 64), w1 = v128.load(w, 80), x = v128.load32_splat(a0, 8)
        c00 = i16x8.add(c00, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c01 = i16x8.add(c01, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
        x = v128.load32_splat(a1, 8)
        c10 = i16x8.add(c10, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c11 = i16x8.add(c11, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
        x = v128.load32_splat(a2, 8)
        c20 = i16x8.add(c20, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c21 = i16x8.add(c21, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
        x = v128.load32_splat(a3, 8)
        c30 = i16x8.add(c30, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c31 = i16x8.add(c31, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
        w0 = v128.load(w, 96), w1 = v128.load(w, 112), x = v128.load32_splat(a0, 12)
        c00 = i16x8.add(c00, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c01 = i16x8.add(c01, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
        x = v128.load32_splat(a1, 12)
        c10 = i16x8.add(c10, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c11 = i16x8.add(c11, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
        x = v128.load32_splat(a2, 12)
        c20 = i16x8.add(c20, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c21 = i16x8.add(c21, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
        x = v128.load32_splat(a3, 12)
        c30 = i16x8.add(c30, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c31 = i16x8.add(c31, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
        w += 128
        a0 += 16
        a1 += 16
        a2 += 16
        a3 += 16
      }
      c00 = i32x4.dot_i16x8_s(c00, ones), c01 = i32x4.dot_i16x8_s(c01, ones), c10 = i32x4.dot_i16x8_s(c10, ones), c11 = i32x4.dot_i16x8_s(c11, ones)
      c20 = i32x4.dot_i16x8_s(c20, ones), c21 = i32x4.dot_i16x8_s(c21, ones), c30 = i32x4.dot_i16x8_s(c30, ones), c31 = i32x4.dot_i16x8_s(c31, ones)
      if (subs > 1) {
        c00 = i32x4.add(c00, v128.load(wide)), c01 = i32x4.add(c01, v128.load(wide, 16))
        c10 = i32x4.add(c10, v128.load(wide, 32)), c11 = i32x4.add(c11, v128.load(wide, 48))
        c20 = i32x4.add(c20, v128.load(wide, 64)), c21 = i32x4.add(c21, v128.load(wide, 80))
        c30 = i32x4.add(c30, v128.load(wide, 96)), c31 = i32x4.add(c31, v128.load(wide, 112))
        if (i + 1 < subs) {
          v128.store(wide, c00), v128.store(wide, c01, 16), v128.store(wide, c10, 32), v128.store(wide, c11, 48)
          v128.store(wide, c20, 64), v128.store(wide, c21, 80), v128.store(wide, c30, 96), v128.store(wide, c31, 112)
          continue
        }
      }
      endTile(y, c00, c01, end, scale, zeros, zero, minima)
      endTile(y + 32, c10, c11, end + row, scale, zeros, zero, minima)
      endTile(y + 64, c20, c21, end + 2 * row, scale, zeros, zero, minima)
      endTile(y + 96, c30, c31, end + 3 * row, scale, zeros, zero, minima)
    }
    scale += 32
    zero += 32
    end += 8
  }
  finishTile(job, block, m, y)
}

/** Groups of one `SUB` without zero points, or with minima: what int4 in groups of 32 is. */
function tileGroups(job: usize, block: i32, m: i32, w: usize, y: usize): void {
  const groups = Job.word(job, Job.GROUPS)
  const stride = Job.pointer(job, Job.ACT_STRIDE), initStride = Job.pointer(job, Job.INIT_STRIDE)
  let a0 = Job.pointer(job, Job.ACT) + <usize>m * stride
  let a1 = a0 + stride, a2 = a1 + stride, a3 = a2 + stride
  let i0 = Job.pointer(job, Job.INIT) + <usize>m * initStride
  let i1 = i0 + initStride, i2 = i1 + initStride, i3 = i2 + initStride
  const table = <usize>(block * groups) << 5
  let scale = Job.pointer(job, Job.SCALES) + table
  const zeros = Job.pointer(job, Job.ZEROS), row = <usize>groups << 3
  let zero = zeros + table, end = Job.pointer(job, Job.ENDS) + <usize>m * row
  const quads = Job.word(job, Job.SUB) >> 4
  const ones = ones16()
  memory.fill(y, 0, 128)
  for (let g = 0; g < groups; g++) {
    let c00 = v128.load32_splat(i0), c01 = c00
    let c10 = v128.load32_splat(i1), c11 = c10
    let c20 = v128.load32_splat(i2), c21 = c20
    let c30 = v128.load32_splat(i3), c31 = c30
    i0 += 4
    i1 += 4
    i2 += 4
    i3 += 4
    for (let q = 0; q < quads; q++) {
      let w0 = v128.load(w), w1 = v128.load(w, 16), x = v128.load32_splat(a0)
      c00 = i16x8.add(c00, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c01 = i16x8.add(c01, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
      x = v128.load32_splat(a1)
      c10 = i16x8.add(c10, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c11 = i16x8.add(c11, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
      x = v128.load32_splat(a2)
      c20 = i16x8.add(c20, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c21 = i16x8.add(c21, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
      x = v128.load32_splat(a3)
      c30 = i16x8.add(c30, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c31 = i16x8.add(c31, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
      w0 = v128.load(w, 32), w1 = v128.load(w, 48), x = v128.load32_splat(a0, 4)
      c00 = i16x8.add(c00, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c01 = i16x8.add(c01, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
      x = v128.load32_splat(a1, 4)
      c10 = i16x8.add(c10, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c11 = i16x8.add(c11, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
      x = v128.load32_splat(a2, 4)
      c20 = i16x8.add(c20, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c21 = i16x8.add(c21, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
      x = v128.load32_splat(a3, 4)
      c30 = i16x8.add(c30, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c31 = i16x8.add(c31, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
      w0 = v128.load(w, 64), w1 = v128.load(w, 80), x = v128.load32_splat(a0, 8)
      c00 = i16x8.add(c00, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c01 = i16x8.add(c01, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
      x = v128.load32_splat(a1, 8)
      c10 = i16x8.add(c10, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c11 = i16x8.add(c11, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
      x = v128.load32_splat(a2, 8)
      c20 = i16x8.add(c20, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c21 = i16x8.add(c21, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
      x = v128.load32_splat(a3, 8)
      c30 = i16x8.add(c30, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c31 = i16x8.add(c31, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
      w0 = v128.load(w, 96), w1 = v128.load(w, 112), x = v128.load32_splat(a0, 12)
      c00 = i16x8.add(c00, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c01 = i16x8.add(c01, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
      x = v128.load32_splat(a1, 12)
      c10 = i16x8.add(c10, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c11 = i16x8.add(c11, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
      x = v128.load32_splat(a2, 12)
      c20 = i16x8.add(c20, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c21 = i16x8.add(c21, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
      x = v128.load32_splat(a3, 12)
      c30 = i16x8.add(c30, i16x8.relaxed_dot_i8x16_i7x16_s(x, w0)), c31 = i16x8.add(c31, i16x8.relaxed_dot_i8x16_i7x16_s(x, w1))
      w += 128
      a0 += 16
      a1 += 16
      a2 += 16
      a3 += 16
    }
    c00 = i32x4.dot_i16x8_s(c00, ones), c01 = i32x4.dot_i16x8_s(c01, ones), c10 = i32x4.dot_i16x8_s(c10, ones), c11 = i32x4.dot_i16x8_s(c11, ones)
    c20 = i32x4.dot_i16x8_s(c20, ones), c21 = i32x4.dot_i16x8_s(c21, ones), c30 = i32x4.dot_i16x8_s(c30, ones), c31 = i32x4.dot_i16x8_s(c31, ones)
    const s0 = v128.load(scale), s1 = v128.load(scale, 16)
    if (zeros) {
      const z0 = v128.load(zero), z1 = v128.load(zero, 16)
      endTileMinima(y, c00, c01, end, s0, s1, z0, z1)
      endTileMinima(y + 32, c10, c11, end + row, s0, s1, z0, z1)
      endTileMinima(y + 64, c20, c21, end + 2 * row, s0, s1, z0, z1)
      endTileMinima(y + 96, c30, c31, end + 3 * row, s0, s1, z0, z1)
    } else {
      endTilePlain(y, c00, c01, end, s0, s1)
      endTilePlain(y + 32, c10, c11, end + row, s0, s1)
      endTilePlain(y + 64, c20, c21, end + 2 * row, s0, s1)
      endTilePlain(y + 96, c30, c31, end + 3 * row, s0, s1)
    }
    scale += 32
    zero += 32
    end += 8
  }
  finishTile(job, block, m, y)
}

/** 16-bit operands, 32-bit sums over the whole group. */
function tileWords(job: usize, block: i32, m: i32, w: usize, y: usize): void {
  const groups = Job.word(job, Job.GROUPS)
  const stride = Job.pointer(job, Job.ACT_STRIDE), initStride = Job.pointer(job, Job.INIT_STRIDE)
  let a0 = Job.pointer(job, Job.ACT) + <usize>m * stride
  let a1 = a0 + stride, a2 = a1 + stride, a3 = a2 + stride
  let i0 = Job.pointer(job, Job.INIT) + <usize>m * initStride
  let i1 = i0 + initStride, i2 = i1 + initStride, i3 = i2 + initStride
  const row = <usize>groups << 3
  let end = Job.pointer(job, Job.ENDS) + <usize>m * row
  const table = <usize>(block * groups) << 5
  let scale = Job.pointer(job, Job.SCALES) + table
  const zeros = Job.pointer(job, Job.ZEROS), minima = Job.word(job, Job.MINIMA)
  let zero = zeros + table
  const quads = Job.word(job, Job.GROUP) >> 3
  memory.fill(y, 0, 128)
  for (let g = 0; g < groups; g++) {
    let c00 = v128.load32_splat(i0), c01 = c00
    let c10 = v128.load32_splat(i1), c11 = c10
    let c20 = v128.load32_splat(i2), c21 = c20
    let c30 = v128.load32_splat(i3), c31 = c30
    i0 += 4
    i1 += 4
    i2 += 4
    i3 += 4
    for (let q = 0; q < quads; q++) {
      let w0 = v128.load(w), w1 = v128.load(w, 16), x = v128.load32_splat(a0)
      c00 = i32x4.add(c00, i32x4.dot_i16x8_s(x, w0)), c01 = i32x4.add(c01, i32x4.dot_i16x8_s(x, w1))
      x = v128.load32_splat(a1)
      c10 = i32x4.add(c10, i32x4.dot_i16x8_s(x, w0)), c11 = i32x4.add(c11, i32x4.dot_i16x8_s(x, w1))
      x = v128.load32_splat(a2)
      c20 = i32x4.add(c20, i32x4.dot_i16x8_s(x, w0)), c21 = i32x4.add(c21, i32x4.dot_i16x8_s(x, w1))
      x = v128.load32_splat(a3)
      c30 = i32x4.add(c30, i32x4.dot_i16x8_s(x, w0)), c31 = i32x4.add(c31, i32x4.dot_i16x8_s(x, w1))
      w0 = v128.load(w, 32), w1 = v128.load(w, 48), x = v128.load32_splat(a0, 4)
      c00 = i32x4.add(c00, i32x4.dot_i16x8_s(x, w0)), c01 = i32x4.add(c01, i32x4.dot_i16x8_s(x, w1))
      x = v128.load32_splat(a1, 4)
      c10 = i32x4.add(c10, i32x4.dot_i16x8_s(x, w0)), c11 = i32x4.add(c11, i32x4.dot_i16x8_s(x, w1))
      x = v128.load32_splat(a2, 4)
      c20 = i32x4.add(c20, i32x4.dot_i16x8_s(x, w0)), c21 = i32x4.add(c21, i32x4.dot_i16x8_s(x, w1))
      x = v128.load32_splat(a3, 4)
      c30 = i32x4.add(c30, i32x4.dot_i16x8_s(x, w0)), c31 = i32x4.add(c31, i32x4.dot_i16x8_s(x, w1))
      w0 = v128.load(w, 64), w1 = v128.load(w, 80), x = v128.load32_splat(a0, 8)
      c00 = i32x4.add(c00, i32x4.dot_i16x8_s(x, w0)), c01 = i32x4.add(c01, i32x4.dot_i16x8_s(x, w1))
      x = v128.load32_splat(a1, 8)
      c10 = i32x4.add(c10, i32x4.dot_i16x8_s(x, w0)), c11 = i32x4.add(c11, i32x4.dot_i16x8_s(x, w1))
      x = v128.load32_splat(a2, 8)
      c20 = i32x4.add(c20, i32x4.dot_i16x8_s(x, w0)), c21 = i32x4.add(c21, i32x4.dot_i16x8_s(x, w1))
      x = v128.load32_splat(a3, 8)
      c30 = i32x4.add(c30, i32x4.dot_i16x8_s(x, w0)), c31 = i32x4.add(c31, i32x4.dot_i16x8_s(x, w1))
      w0 = v128.load(w, 96), w1 = v128.load(w, 112), x = v128.load32_splat(a0, 12)
      c00 = i32x4.add(c00, i32x4.dot_i16x8_s(x, w0)), c01 = i32x4.add(c01, i32x4.dot_i16x8_s(x, w1))
      x = v128.load32_splat(a1, 12)
      c10 = i32x4.add(c10, i32x4.dot_i16x8_s(x, w0)), c11 = i32x4.add(c11, i32x4.dot_i16x8_s(x, w1))
      x = v128.load32_splat(a2, 12)
      c20 = i32x4.add(c20, i32x4.dot_i16x8_s(x, w0)), c21 = i32x4.add(c21, i32x4.dot_i16x8_s(x, w1))
      x = v128.load32_splat(a3, 12)
      c30 = i32x4.add(c30, i32x4.dot_i16x8_s(x, w0)), c31 = i32x4.add(c31, i32x4.dot_i16x8_s(x, w1))
      w += 128
      a0 += 16
      a1 += 16
      a2 += 16
      a3 += 16
    }
    endTile(y, c00, c01, end, scale, zeros, zero, minima)
    endTile(y + 32, c10, c11, end + row, scale, zeros, zero, minima)
    endTile(y + 64, c20, c21, end + 2 * row, scale, zeros, zero, minima)
    endTile(y + 96, c30, c31, end + 3 * row, scale, zeros, zero, minima)
    scale += 32
    zero += 32
    end += 8
  }
  finishTile(job, block, m, y)
}
