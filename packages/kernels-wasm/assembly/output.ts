import * as Job from './job'

/**
 * The float part of every integer kernel, in one order so that all tiers give the same bits:
 * `y = fl(y + fl(float(acc) · scale))`, group after group; where there are zero points
 * `float(acc)` becomes `fl(float(acc) + fl(zero · sum))`, and where there are minima `fl(minimum · sum)` is added to y after that.
 */
// @ts-ignore: decorator
@inline export function addGroup(y: v128, acc: v128, scale: usize): v128 {
  return f32x4.add(y, f32x4.mul(f32x4.convert_i32x4_s(acc), v128.load(scale)))
}
// @ts-ignore: decorator
@inline export function addGroupZero(y: v128, acc: v128, scale: usize, zero: usize, sum: v128, minima: i32): v128 {
  const a = f32x4.convert_i32x4_s(acc), z = f32x4.mul(v128.load(zero), sum)
  if (minima) return f32x4.add(f32x4.add(y, f32x4.mul(a, v128.load(scale))), z)
  return f32x4.add(y, f32x4.mul(f32x4.add(a, z), v128.load(scale)))
}

/** Stores eight outputs: `y · activation scale + bias`. */
// @ts-ignore: decorator
@inline export function finish(job: usize, block: i32, m: i32, y0: v128, y1: v128): void {
  const scale = v128.load32_splat(Job.pointer(job, Job.ACT_SCALES) + (<usize>m << 2))
  store(job, block, m, f32x4.mul(y0, scale), f32x4.mul(y1, scale))
}

/** Stores eight outputs with the bias added, if there is one. */
// @ts-ignore: decorator
@inline export function store(job: usize, block: i32, m: i32, y0: v128, y1: v128): void {
  const at = <usize>block << 5, bias = Job.pointer(job, Job.BIAS)
  const out = Job.pointer(job, Job.OUT) + <usize>m * Job.pointer(job, Job.OUT_STRIDE) + at
  if (bias) {
    y0 = f32x4.add(y0, v128.load(bias + at))
    y1 = f32x4.add(y1, v128.load(bias + at, 16))
  }
  v128.store(out, y0)
  v128.store(out, y1, 16)
}
