import { rowsByDot } from './dot-rows'
import * as Job from './job'
import { endGroup, endTile, endTileMinima, endTilePlain, store } from './output'
import { unpackBytes } from './unpack'

/**
 * Codes by the four-way dot product with sums in 32 bits. Codes of up to seven bits are exact wherever there is relaxed SIMD;
 * whole bytes where the engine's four-way dot product is exact on full bytes (`src/probe.ts`): x86 with VNNI, whose second
 * operand is unsigned, takes codes + 128 and starts its sums at −128 · (sum of activations); ARM takes them as they are.
 * Four codes of four rows a vector, in the order K runs. One instruction for sixteen products.
 */
export function multiplyDot(job: usize, from: i32, to: i32, scratch: usize): void {
  if (!ASC_FEATURE_RELAXED_SIMD) return
  const rows = Job.word(job, Job.M), kind = Job.word(job, Job.KIND), narrow = Job.isQ4(kind) || Job.isQ2(kind)
  if (rows < 3) {
    for (let m = 0; m < rows; m++) {
      if (narrow) rowsByDot(job, from, to, m)
      else for (let block = from; block < to; block++) row(job, block, m)
    }
    return
  }
  for (let block = from; block < to; block++) {
    let codes = Job.pointer(job, Job.CODES) + <usize>block * Job.pointer(job, Job.BLOCK_BYTES)
    if (narrow) {
      unpackBytes(kind, codes, Job.word(job, Job.GROUPS) * Job.word(job, Job.GROUP), scratch)
      codes = scratch
    }
    for (let m = 0; m < rows; m += 4) tile(job, block, m, codes)
  }
}

/** `c + Σ x · w` of four bytes each: x signed, w as the engine takes it. */
// @ts-ignore: decorator
@inline export function dot(c: v128, x: v128, w: v128): v128 {
  // tests compile the module as if the instruction took unsigned bytes: no engine at hand may do so
  // @ts-ignore: given with --use
  if (isDefined(EXACT_UNSIGNED_DOT)) {
    const low = i16x8.mul(i16x8.extend_low_i8x16_s(x), i16x8.extend_low_i8x16_u(w)), high = i16x8.mul(i16x8.extend_high_i8x16_s(x), i16x8.extend_high_i8x16_u(w))
    const a = i32x4.extadd_pairwise_i16x8_s(low), b = i32x4.extadd_pairwise_i16x8_s(high)
    return i32x4.add(c, i32x4.add(v128.shuffle<i32>(a, b, 0, 2, 4, 6), v128.shuffle<i32>(a, b, 1, 3, 5, 7)))
  }
  return ASC_FEATURE_RELAXED_SIMD ? i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w, c) : c
}

function row(job: usize, block: i32, m: i32): void {
  const groups = Job.word(job, Job.GROUPS), steps = Job.word(job, Job.GROUP) >> 3
  const table = <usize>(block * groups) << 5, zeros = Job.pointer(job, Job.ZEROS), minima = Job.word(job, Job.MINIMA)
  let w = Job.pointer(job, Job.CODES) + <usize>block * Job.pointer(job, Job.BLOCK_BYTES)
  let a = Job.pointer(job, Job.ACT) + <usize>m * Job.pointer(job, Job.ACT_STRIDE)
  let init = Job.pointer(job, Job.INIT) + <usize>m * Job.pointer(job, Job.INIT_STRIDE)
  let end = Job.pointer(job, Job.ENDS) + (<usize>(m * groups) << 3)
  let scale = Job.pointer(job, Job.SCALES) + table, zero = zeros + table
  let y0 = f32x4.splat(0), y1 = f32x4.splat(0)
  for (let g = 0; g < groups; g++) {
    let d0 = v128.load32_splat(init), d1 = d0, e0 = i32x4.splat(0), e1 = i32x4.splat(0)
    for (let i = 0; i < steps; i++) {
      const x0 = v128.load32_splat(a), x1 = v128.load32_splat(a, 4)
      d0 = dot(d0, x0, v128.load(w))
      d1 = dot(d1, x0, v128.load(w, 16))
      e0 = dot(e0, x1, v128.load(w, 32))
      e1 = dot(e1, x1, v128.load(w, 48))
      w += 64
      a += 8
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

/** Four rows of activations × eight of weights; their float sums wait where the results will stand. */
function tile(job: usize, block: i32, m: i32, w: usize): void {
  const groups = Job.word(job, Job.GROUPS), steps = Job.word(job, Job.GROUP) >> 2
  const table = <usize>(block * groups) << 5, zeros = Job.pointer(job, Job.ZEROS), minima = Job.word(job, Job.MINIMA)
  const stride = Job.pointer(job, Job.ACT_STRIDE), initStride = Job.pointer(job, Job.INIT_STRIDE)
  let a0 = Job.pointer(job, Job.ACT) + <usize>m * stride
  let a1 = a0 + stride, a2 = a1 + stride, a3 = a2 + stride
  let init = Job.pointer(job, Job.INIT) + <usize>m * initStride
  let end = Job.pointer(job, Job.ENDS) + (<usize>(m * groups) << 3)
  let scale = Job.pointer(job, Job.SCALES) + table, zero = zeros + table
  const out = Job.pointer(job, Job.OUT_STRIDE), row = <usize>groups << 3
  const y0 = Job.pointer(job, Job.OUT) + <usize>m * out + (<usize>block << 5), y1 = y0 + out, y2 = y1 + out, y3 = y2 + out
  memory.fill(y0, 0, 32), memory.fill(y1, 0, 32), memory.fill(y2, 0, 32), memory.fill(y3, 0, 32)
  for (let g = 0; g < groups; g++) {
    let c00 = v128.load32_splat(init), c01 = c00
    let c10 = v128.load32_splat(init + initStride), c11 = c10
    let c20 = v128.load32_splat(init + 2 * initStride), c21 = c20
    let c30 = v128.load32_splat(init + 3 * initStride), c31 = c30
    for (let i = 0; i < steps; i++) {
      const w0 = v128.load(w), w1 = v128.load(w, 16)
      let x = v128.load32_splat(a0)
      c00 = dot(c00, x, w0), c01 = dot(c01, x, w1)
      x = v128.load32_splat(a1)
      c10 = dot(c10, x, w0), c11 = dot(c11, x, w1)
      x = v128.load32_splat(a2)
      c20 = dot(c20, x, w0), c21 = dot(c21, x, w1)
      x = v128.load32_splat(a3)
      c30 = dot(c30, x, w0), c31 = dot(c31, x, w1)
      w += 32
      a0 += 4
      a1 += 4
      a2 += 4
      a3 += 4
    }
    const s0 = v128.load(scale), s1 = v128.load(scale, 16)
    if (!zeros) {
      endTilePlain(y0, c00, c01, end, s0, s1)
      endTilePlain(y1, c10, c11, end + row, s0, s1)
      endTilePlain(y2, c20, c21, end + 2 * row, s0, s1)
      endTilePlain(y3, c30, c31, end + 3 * row, s0, s1)
    } else if (minima) {
      const z0 = v128.load(zero), z1 = v128.load(zero, 16)
      endTileMinima(y0, c00, c01, end, s0, s1, z0, z1)
      endTileMinima(y1, c10, c11, end + row, s0, s1, z0, z1)
      endTileMinima(y2, c20, c21, end + 2 * row, s0, s1, z0, z1)
      endTileMinima(y3, c30, c31, end + 3 * row, s0, s1, z0, z1)
    } else {
      endTile(y0, c00, c01, end, scale, zeros, zero, minima)
      endTile(y1, c10, c11, end + row, scale, zeros, zero, minima)
      endTile(y2, c20, c21, end + 2 * row, scale, zeros, zero, minima)
      endTile(y3, c30, c31, end + 3 * row, scale, zeros, zero, minima)
    }
    init += 4
    end += 8
    scale += 32
    zero += 32
  }
  store(job, block, m, v128.load(y0), v128.load(y0, 16))
  store(job, block, m + 1, v128.load(y1), v128.load(y1, 16))
  store(job, block, m + 2, v128.load(y2), v128.load(y2, 16))
  store(job, block, m + 3, v128.load(y3), v128.load(y3, 16))
}
