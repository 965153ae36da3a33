import { bfloat16High, bfloat16Low, float16High, float16Low } from './halves'
import * as Job from './job'
import { store } from './output'
import { unpackWords } from './unpack'

/** Rows of activations below which each is multiplied by itself. */
const FEW: i32 = 3

/**
 * Float activations × float weights, `[K][8 rows]` for each block: `y = fl(y + fl(x · w))`, k after k.
 * Products and sums are rounded one by one: a fused multiply-add would not give the same bits on every engine.
 */
export function multiplyFloats(job: usize, from: i32, to: i32): void {
  const codes = Job.pointer(job, Job.CODES), bytes = Job.pointer(job, Job.BLOCK_BYTES), m = Job.word(job, Job.M)
  let block = from
  if (m < FEW) {
    for (; block + 4 <= to; block += 4) {
      for (let i = 0; i < m; i++) row4(job, block, i, codes + <usize>block * bytes, bytes)
    }
  }
  for (; block < to; block++) rows(job, block, codes + <usize>block * bytes)
}

/** Float activations × integer codes: each block of weights becomes floats in scratch memory first (48 bytes a column). */
export function multiplyWeightOnly(job: usize, from: i32, to: i32, scratch: usize): void {
  const floats = scratch + ((<usize>(Job.word(job, Job.GROUPS) * Job.word(job, Job.GROUP))) << 4)
  for (let block = from; block < to; block++) {
    dequantizeBlock(job, block, scratch, floats)
    rows(job, block, floats)
  }
}

/** Float activations × 16-bit floats: widened as they are read for a row or two, a block at a time (32 bytes a column) for more. */
export function multiplyHalves(job: usize, from: i32, to: i32, scratch: usize): void {
  const codes = Job.pointer(job, Job.CODES), bytes = Job.pointer(job, Job.BLOCK_BYTES), m = Job.word(job, Job.M)
  const columns = Job.word(job, Job.COLUMNS), half = Job.word(job, Job.KIND) == Job.F16
  let block = from
  if (m < FEW) {
    for (; block + 2 <= to; block += 2) {
      const w = codes + <usize>block * bytes
      for (let i = 0; i < m; i++) {
        if (half) halfRow2(job, block, i, w, bytes)
        else brainRow2(job, block, i, w, bytes)
      }
    }
  }
  for (; block < to; block++) {
    let w = codes + <usize>block * bytes, at = scratch
    for (let k = 0; k < columns; k++) {
      const h = v128.load(w)
      v128.store(at, half ? float16Low(h) : bfloat16Low(h))
      v128.store(at, half ? float16High(h) : bfloat16High(h), 16)
      w += 16
      at += 32
    }
    rows(job, block, scratch)
  }
}

function halfRow2(job: usize, block: i32, m: i32, w: usize, bytes: usize): void {
  let x = Job.pointer(job, Job.X) + <usize>m * Job.pointer(job, Job.X_STRIDE), w1 = w + bytes
  let y00 = f32x4.splat(0), y01 = y00, y10 = y00, y11 = y00
  for (let k = Job.word(job, Job.COLUMNS); k > 0; k--) {
    const a = v128.load32_splat(x), u = v128.load(w), v = v128.load(w1)
    y00 = f32x4.add(y00, f32x4.mul(a, float16Low(u))), y01 = f32x4.add(y01, f32x4.mul(a, float16High(u)))
    y10 = f32x4.add(y10, f32x4.mul(a, float16Low(v))), y11 = f32x4.add(y11, f32x4.mul(a, float16High(v)))
    x += 4
    w += 16
    w1 += 16
  }
  store(job, block, m, y00, y01)
  store(job, block + 1, m, y10, y11)
}

function brainRow2(job: usize, block: i32, m: i32, w: usize, bytes: usize): void {
  let x = Job.pointer(job, Job.X) + <usize>m * Job.pointer(job, Job.X_STRIDE), w1 = w + bytes
  let y00 = f32x4.splat(0), y01 = y00, y10 = y00, y11 = y00
  for (let k = Job.word(job, Job.COLUMNS); k > 0; k--) {
    const a = v128.load32_splat(x), u = v128.load(w), v = v128.load(w1)
    y00 = f32x4.add(y00, f32x4.mul(a, bfloat16Low(u))), y01 = f32x4.add(y01, f32x4.mul(a, bfloat16High(u)))
    y10 = f32x4.add(y10, f32x4.mul(a, bfloat16Low(v))), y11 = f32x4.add(y11, f32x4.mul(a, bfloat16High(v)))
    x += 4
    w += 16
    w1 += 16
  }
  store(job, block, m, y00, y01)
  store(job, block + 1, m, y10, y11)
}

function rows(job: usize, block: i32, w: usize): void {
  const columns = Job.word(job, Job.COLUMNS), m = Job.word(job, Job.M)
  if (m < FEW) {
    for (let i = 0; i < m; i++) row(job, block, i, w, columns)
  } else {
    for (let i = 0; i < m; i += 4) tile(job, block, i, w, columns)
  }
}

function row(job: usize, block: i32, m: i32, w: usize, columns: i32): void {
  let x = Job.pointer(job, Job.X) + <usize>m * Job.pointer(job, Job.X_STRIDE)
  let y0 = f32x4.splat(0), y1 = f32x4.splat(0)
  for (let k = 0; k < columns; k++) {
    const a = v128.load32_splat(x)
    y0 = f32x4.add(y0, f32x4.mul(a, v128.load(w)))
    y1 = f32x4.add(y1, f32x4.mul(a, v128.load(w, 16)))
    x += 4
    w += 32
  }
  store(job, block, m, y0, y1)
}

/** Four blocks at once: a sum waits for the one before it, so eight of them are kept going. */
function row4(job: usize, block: i32, m: i32, w: usize, bytes: usize): void {
  let x = Job.pointer(job, Job.X) + <usize>m * Job.pointer(job, Job.X_STRIDE)
  let w1 = w + bytes, w2 = w1 + bytes, w3 = w2 + bytes
  let y00 = f32x4.splat(0), y01 = f32x4.splat(0), y10 = f32x4.splat(0), y11 = f32x4.splat(0)
  let y20 = f32x4.splat(0), y21 = f32x4.splat(0), y30 = f32x4.splat(0), y31 = f32x4.splat(0)
  for (let k = Job.word(job, Job.COLUMNS); k > 0; k--) {
    const a = v128.load32_splat(x)
    y00 = f32x4.add(y00, f32x4.mul(a, v128.load(w))), y01 = f32x4.add(y01, f32x4.mul(a, v128.load(w, 16)))
    y10 = f32x4.add(y10, f32x4.mul(a, v128.load(w1))), y11 = f32x4.add(y11, f32x4.mul(a, v128.load(w1, 16)))
    y20 = f32x4.add(y20, f32x4.mul(a, v128.load(w2))), y21 = f32x4.add(y21, f32x4.mul(a, v128.load(w2, 16)))
    y30 = f32x4.add(y30, f32x4.mul(a, v128.load(w3))), y31 = f32x4.add(y31, f32x4.mul(a, v128.load(w3, 16)))
    x += 4
    w += 32
    w1 += 32
    w2 += 32
    w3 += 32
  }
  store(job, block, m, y00, y01)
  store(job, block + 1, m, y10, y11)
  store(job, block + 2, m, y20, y21)
  store(job, block + 3, m, y30, y31)
}

function tile(job: usize, block: i32, m: i32, w: usize, columns: i32): void {
  const stride = Job.pointer(job, Job.X_STRIDE)
  let x0 = Job.pointer(job, Job.X) + <usize>m * stride
  let x1 = x0 + stride, x2 = x1 + stride, x3 = x2 + stride
  let y00 = f32x4.splat(0), y01 = f32x4.splat(0), y10 = f32x4.splat(0), y11 = f32x4.splat(0)
  let y20 = f32x4.splat(0), y21 = f32x4.splat(0), y30 = f32x4.splat(0), y31 = f32x4.splat(0)
  for (let k = 0; k < columns; k++) {
    const w0 = v128.load(w), w1 = v128.load(w, 16)
    let a = v128.load32_splat(x0)
    y00 = f32x4.add(y00, f32x4.mul(a, w0)), y01 = f32x4.add(y01, f32x4.mul(a, w1))
    a = v128.load32_splat(x1)
    y10 = f32x4.add(y10, f32x4.mul(a, w0)), y11 = f32x4.add(y11, f32x4.mul(a, w1))
    a = v128.load32_splat(x2)
    y20 = f32x4.add(y20, f32x4.mul(a, w0)), y21 = f32x4.add(y21, f32x4.mul(a, w1))
    a = v128.load32_splat(x3)
    y30 = f32x4.add(y30, f32x4.mul(a, w0)), y31 = f32x4.add(y31, f32x4.mul(a, w1))
    x0 += 4
    x1 += 4
    x2 += 4
    x3 += 4
    w += 32
  }
  store(job, block, m, y00, y01)
  store(job, block, m + 1, y10, y11)
  store(job, block, m + 2, y20, y21)
  store(job, block, m + 3, y30, y31)
}

/** `fl(fl(code − offset + zero) · scale)`, or `fl(fl((code − offset) · scale) + minimum)`, of eight rows: the value that core's oracle gives. */
function dequantizeBlock(job: usize, block: i32, words: usize, to: usize): void {
  const groups = Job.word(job, Job.GROUPS), group = Job.word(job, Job.GROUP), used = Job.word(job, Job.GROUP_USED)
  const columns = Job.word(job, Job.COLUMNS), zeros = Job.pointer(job, Job.ZEROS), minima = Job.word(job, Job.MINIMA)
  unpackWords(Job.word(job, Job.KIND), Job.pointer(job, Job.CODES) + <usize>block * Job.pointer(job, Job.BLOCK_BYTES), groups * group, words)
  const table = <usize>(block * groups) << 5
  let scale = Job.pointer(job, Job.SCALES) + table
  let zero = zeros + table
  const offset = i32x4.splat(Job.word(job, Job.OFFSET))
  for (let g = 0; g < groups; g++) {
    const count = min(used, columns - g * used)
    const z0 = zeros ? v128.load(zero) : f32x4.splat(0), z1 = zeros ? v128.load(zero, 16) : f32x4.splat(0)
    const s0 = v128.load(scale), s1 = v128.load(scale, 16)
    for (let k = 0; k < count; k++) {
      // of four codes, 0 and 2 stand in the first 32 bytes, 1 and 3 in the next, low half first
      const at = words + (<usize>(k >> 2) << 6) + (<usize>(k & 1) << 5)
      let v0 = v128.load(at), v1 = v128.load(at, 16)
      if (!(k & 2)) {
        v0 = i32x4.shl(v0, 16)
        v1 = i32x4.shl(v1, 16)
      }
      const f0 = f32x4.convert_i32x4_s(i32x4.sub(i32x4.shr_s(v0, 16), offset)), f1 = f32x4.convert_i32x4_s(i32x4.sub(i32x4.shr_s(v1, 16), offset))
      v128.store(to, minima ? f32x4.add(f32x4.mul(f0, s0), z0) : f32x4.mul(f32x4.add(f0, z0), s0))
      v128.store(to, minima ? f32x4.add(f32x4.mul(f1, s1), z1) : f32x4.mul(f32x4.add(f1, z1), s1), 16)
      to += 32
    }
    words += <usize>group << 4
    scale += 32
    zero += 32
  }
}
