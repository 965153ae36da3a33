import { bfloat16Low, float16Low } from './halves'
import * as Job from './job'

/** Row `n` of packed weights as floats, times `by`: the value that `dequantize` gives. `job` holds the matrix. */
export function embedRow(job: usize, n: i32, by: f32, y: usize): void {
  const columns = Job.word(job, Job.COLUMNS), kind = Job.word(job, Job.KIND), r = n & 7
  const block = n >> 3
  const base = Job.pointer(job, Job.CODES) + <usize>block * Job.pointer(job, Job.BLOCK_BYTES)
  if (kind == Job.F32 || kind == Job.F16 || kind == Job.BF16) {
    for (let k = 0; k < columns; k++) store<f32>(y + (<usize>k << 2), floatAt(kind, base, <usize>((k << 3) + r)) * by)
    return
  }
  const groups = Job.word(job, Job.GROUPS), group = Job.word(job, Job.GROUP), used = Job.word(job, Job.GROUP_USED)
  const offset = Job.word(job, Job.OFFSET), zeros = Job.pointer(job, Job.ZEROS), minima = Job.word(job, Job.MINIMA)
  const table = (<usize>(block * groups) << 5) + (<usize>r << 2)
  for (let g = 0; g < groups; g++) {
    const scale = load<f32>(Job.pointer(job, Job.SCALES) + table + (<usize>g << 5))
    const zero: f32 = zeros ? load<f32>(zeros + table + (<usize>g << 5)) : 0
    const end = min(used, columns - g * used)
    for (let i = 0; i < end; i++) {
      const code = <f32>(codeAt(kind, base, r, g * group + i) - offset)
      const value: f32 = minima ? code * scale + zero : (code + zero) * scale
      store<f32>(y, value * by)
      y += 4
    }
  }
}

// @ts-ignore: decorator
@inline function floatAt(kind: i32, base: usize, at: usize): f32 {
  if (kind == Job.F32) return load<f32>(base + (at << 2))
  const h = i16x8.splat(load<i16>(base + (at << 1)))
  return f32x4.extract_lane(kind == Job.F16 ? float16Low(h) : bfloat16Low(h), 0)
}

/** The stored code of row `r` of a block at padded column `k`: where each kind keeps it. */
// @ts-ignore: decorator
@inline function codeAt(kind: i32, base: usize, r: i32, k: i32): i32 {
  const half = (r >> 2) << 4, lane = ((r & 3) << 2) + (k & 3)
  if (Job.isQ4(kind)) return (<i32>load<u8>(base + <usize>(((k >> 3) << 5) + half + lane)) >> (k & 4)) & 15
  if (Job.isQ2(kind)) return (<i32>load<u8>(base + <usize>(((k >> 4) << 5) + half + lane)) >> (((k >> 2) & 3) << 1)) & 3
  const at = base + <usize>((k >> 2) << 5) + <usize>half
  if (kind == Job.Q8) return <i32>load<i8>(at + <usize>(((k & 1) << 3) + ((r & 3) << 1) + ((k & 2) >> 1)))
  return kind == Job.Q8_SIGNED ? <i32>load<i8>(at + <usize>lane) : <i32>load<u8>(at + <usize>lane)
}
