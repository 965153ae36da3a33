import { multiplyDot } from './dot'
import { multiplyFloats, multiplyWeightOnly } from './floats'
import { gemm } from './gemm'
import { gemvQ2 } from './gemv-q2'
import { gemvQ4 } from './gemv-q4'
import { gemvQ8 } from './gemv-q8'
import * as Job from './job'

/** Rows of activations up to which the row kernels beat unpacking. */
const FEW_ROWS: i32 = 2

/** Blocks `from` to `to` (eight rows of weights each) of int8 activations × integer codes. */
export function multiply(job: usize, from: i32, to: i32, scratch: usize): void {
  const kind = Job.word(job, Job.KIND)
  if (kind == Job.Q8_UNSIGNED || kind == Job.Q8_SIGNED) return multiplyDot(job, from, to)
  if (Job.word(job, Job.M) > FEW_ROWS) return gemm(job, from, to, scratch)
  if (kind == Job.Q4) gemvQ4(job, from, to)
  else if (kind == Job.Q2) gemvQ2(job, from, to)
  else gemvQ8(job, from, to)
}

/** The same with float activations. */
export function multiplyByFloats(job: usize, from: i32, to: i32, scratch: usize): void {
  if (Job.word(job, Job.KIND) == Job.F32) multiplyFloats(job, from, to)
  else multiplyWeightOnly(job, from, to, scratch)
}
