import * as Job from './job'
import { endGroup, store } from './output'

/**
 * One row of activations × int8 codes, widened to 16 bits as they are loaded. Of sixteen bytes the first eight hold
 * k = 0, 2 and the others k = 1, 3 of four rows: the order of activations that the 4-bit kernel needs.
 *
 * The relaxed dot product does not serve here: where the engine has no four-way dot product, two products of full int8
 * codes saturate its 16-bit sums.
 */
export function gemvQ8(job: usize, from: i32, to: i32): void {
  for (let m = 0; m < Job.word(job, Job.M); m++) {
    for (let block = from; block < to; block++) widened(job, block, m)
  }
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
  const steps = Job.word(job, Job.GROUP) >> 4
  let y0 = f32x4.splat(0), y1 = f32x4.splat(0)
  for (let g = 0; g < groups; g++) {
    let d0 = v128.load32_splat(init), d1 = d0
    for (let i = 0; i < steps; i++) {
      let x0 = v128.load32_splat(a, 0), x1 = v128.load32_splat(a, 4)
      d0 = i32x4.add(d0, i32x4.dot_i16x8_s(v128.load8x8_s(w, 0), x0))
      d0 = i32x4.add(d0, i32x4.dot_i16x8_s(v128.load8x8_s(w, 8), x1))
      d1 = i32x4.add(d1, i32x4.dot_i16x8_s(v128.load8x8_s(w, 16), x0))
      d1 = i32x4.add(d1, i32x4.dot_i16x8_s(v128.load8x8_s(w, 24), x1))
      x0 = v128.load32_splat(a, 8), x1 = v128.load32_splat(a, 12)
      d0 = i32x4.add(d0, i32x4.dot_i16x8_s(v128.load8x8_s(w, 32), x0))
      d0 = i32x4.add(d0, i32x4.dot_i16x8_s(v128.load8x8_s(w, 40), x1))
      d1 = i32x4.add(d1, i32x4.dot_i16x8_s(v128.load8x8_s(w, 48), x0))
      d1 = i32x4.add(d1, i32x4.dot_i16x8_s(v128.load8x8_s(w, 56), x1))
      x0 = v128.load32_splat(a, 16), x1 = v128.load32_splat(a, 20)
      d0 = i32x4.add(d0, i32x4.dot_i16x8_s(v128.load8x8_s(w, 64), x0))
      d0 = i32x4.add(d0, i32x4.dot_i16x8_s(v128.load8x8_s(w, 72), x1))
      d1 = i32x4.add(d1, i32x4.dot_i16x8_s(v128.load8x8_s(w, 80), x0))
      d1 = i32x4.add(d1, i32x4.dot_i16x8_s(v128.load8x8_s(w, 88), x1))
      x0 = v128.load32_splat(a, 24), x1 = v128.load32_splat(a, 28)
      d0 = i32x4.add(d0, i32x4.dot_i16x8_s(v128.load8x8_s(w, 96), x0))
      d0 = i32x4.add(d0, i32x4.dot_i16x8_s(v128.load8x8_s(w, 104), x1))
      d1 = i32x4.add(d1, i32x4.dot_i16x8_s(v128.load8x8_s(w, 112), x0))
      d1 = i32x4.add(d1, i32x4.dot_i16x8_s(v128.load8x8_s(w, 120), x1))
      w += 128
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
