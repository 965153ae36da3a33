import { splitRows } from './gemm-strassen'
import * as Job from './job'

/** Below this an absolute maximum counts as this: 127 / absmax must stay finite. 2^-100. */
const FLOOR: f32 = 7.888609052210118e-31

/**
 * Quantizes rows of floats to int8, symmetric, one scale a row or a group (`scale = absmax / 127`, codes `rint(x · (127 / absmax))`),
 * and lays them out as the kernel of this tier and kind reads them. Padding becomes code 0.
 * Returns 0, or 1 + the index of the first row that holds a NaN or an infinity. `scratch`: 64 bytes.
 */
export function quantizeRows(job: usize, scratch: usize): i32 {
  const bad = quantizeRange(job, 0, Job.word(job, Job.M), scratch)
  if (!bad && Job.pointer(job, Job.SPLIT)) splitRows(job)
  return bad
}

/** Rows `from` to `to`. */
export function quantizeRange(job: usize, from: i32, to: i32, scratch: usize): i32 {
  for (let m = from; m < to; m++) {
    if (!quantizeRow(job, m, Job.pointer(job, Job.X) + <usize>m * Job.pointer(job, Job.X_STRIDE), scratch)) return m + 1
  }
  return 0
}

function absmax(x: usize, count: i32, scratch: usize): f32 {
  let top = f32x4.splat(0)
  let k = 0
  for (; k + 4 <= count; k += 4) top = f32x4.max(top, f32x4.abs(v128.load(x + (<usize>k << 2))))
  if (k < count) {
    memory.fill(scratch, 0, 16)
    memory.copy(scratch, x + (<usize>k << 2), <usize>(count - k) << 2)
    top = f32x4.max(top, f32x4.abs(v128.load(scratch)))
  }
  return max<f32>(max<f32>(f32x4.extract_lane(top, 0), f32x4.extract_lane(top, 1)), max<f32>(f32x4.extract_lane(top, 2), f32x4.extract_lane(top, 3)))
}

/** 1.5 · 2^23: a sum with it has no room for a fraction, so the addition rounds to the nearest whole number, ties to even. */
const SHIFTER: f32 = 12582912

/** `rint(x · inverse)`, four times: its bits are those of the sum less those of {@link SHIFTER}. */
// @ts-ignore: decorator
@inline function four(x: usize, inverse: v128): v128 {
  const shifter = f32x4.splat(SHIFTER)
  return i32x4.sub(f32x4.add(f32x4.mul(v128.load(x), inverse), shifter), shifter)
}

/** Sixteen codes from sixteen floats. */
// @ts-ignore: decorator
@inline function sixteen(x: usize, inverse: v128): v128 {
  return i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(four(x, inverse), four(x + 16, inverse)), i16x8.narrow_i32x4_s(four(x + 32, inverse), four(x + 48, inverse)))
}

/** False if the row is not finite. */
function quantizeRow(job: usize, m: i32, x: usize, scratch: usize): bool {
  const groups = Job.word(job, Job.GROUPS), group = Job.word(job, Job.GROUP), used = Job.word(job, Job.GROUP_USED)
  const sub = Job.word(job, Job.SUB), columns = Job.word(job, Job.COLUMNS), offset = Job.word(job, Job.OFFSET)
  const kind = Job.word(job, Job.KIND)
  const bytes = ASC_FEATURE_RELAXED_SIMD && kind != Job.Q8
  // where sums begin in 32 bits there is one start for a group
  const wide = !bytes || (kind != Job.Q4 && kind != Job.Q2)
  const grouped = Job.word(job, Job.ACT_GROUPS), scaled = Job.word(job, Job.MINIMA)
  let a = Job.pointer(job, Job.ACT) + <usize>m * Job.pointer(job, Job.ACT_STRIDE)
  let init = Job.pointer(job, Job.INIT) + <usize>m * Job.pointer(job, Job.INIT_STRIDE)
  let end = Job.pointer(job, Job.ENDS) + (<usize>(m * groups) << 3)
  let scale: f32 = 0, factor = f32x4.splat(0)
  for (let g = 0; g < groups; g++) {
    const count = min(used, columns - g * used)
    if (g == 0 || grouped) {
      const top = absmax(x, grouped ? count : columns, scratch)
      if (!(top <= f32.MAX_VALUE)) return false
      const bounded = max<f32>(top, FLOOR)
      scale = bounded / <f32>127
      factor = f32x4.splat(<f32>127 / bounded)
    }
    let total = i32x4.splat(0), pairs = i16x8.splat(0)
    for (let k = 0; k < group; k += 16) {
      let from = x
      const left = count - k
      if (left < 16) {
        memory.fill(scratch, 0, 64)
        if (left > 0) memory.copy(scratch, x, <usize>left << 2)
        from = scratch
      }
      const v = sixteen(from, factor)
      x += <usize>max(min(left, 16), 0) << 2
      const two = i16x8.extadd_pairwise_i8x16_s(v)
      total = i32x4.add(total, i32x4.extadd_pairwise_i16x8_s(two))
      if (bytes) {
        v128.store(a, v)
        a += 16
        pairs = i16x8.add(pairs, two)
        if (!wide && (k + 16) % sub == 0) {
          pairs = i16x8.add(pairs, i8x16.shuffle(pairs, pairs, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7))
          pairs = i16x8.add(pairs, i8x16.shuffle(pairs, pairs, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11))
          v128.store32_lane(init, i16x8.mul(pairs, i16x8.splat(<i16>-offset)), 0)
          init += 4
          pairs = i16x8.splat(0)
        }
      } else {
        const swapped = i8x16.shuffle(v, v, 0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15)
        v128.store(a, i16x8.extend_low_i8x16_s(swapped))
        v128.store(a, i16x8.extend_high_i8x16_s(swapped), 16)
        a += 32
      }
    }
    const sum = i32x4.extract_lane(total, 0) + i32x4.extract_lane(total, 1) + i32x4.extract_lane(total, 2) + i32x4.extract_lane(total, 3)
    if (wide) {
      store<i32>(init, -offset * sum)
      init += 4
    }
    store<f32>(end, scale)
    store<f32>(end, scaled ? <f32>sum * scale : <f32>sum, 4)
    end += 8
  }
  return true
}
