import { multiplyDot } from './dot'
import { multiplyFloats, multiplyHalves, multiplyWeightOnly } from './floats'
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
  if (kind != Job.Q2 && kind != Job.Q4 && kind != Job.Q8) return multiplyDot(job, from, to, scratch)
  if (Job.word(job, Job.M) > FEW_ROWS) return gemm(job, from, to, scratch)
  if (kind == Job.Q4) gemvQ4(job, from, to)
  else if (kind == Job.Q2) gemvQ2(job, from, to)
  else gemvQ8(job, from, to)
}

/** The same with float activations. */
export function multiplyByFloats(job: usize, from: i32, to: i32, scratch: usize): void {
  const kind = Job.word(job, Job.KIND)
  if (kind == Job.F32) multiplyFloats(job, from, to)
  else if (kind == Job.F16 || kind == Job.BF16) multiplyHalves(job, from, to, scratch)
  else multiplyWeightOnly(job, from, to, scratch)
}
