import * as Job from './job'

/**
 * The float part of every integer kernel, in one order so that all tiers give the same bits:
 * `y = fl(y + fl(fl(float(acc) · d) · scale))`, group after group, d the scale of the activations; where there are zero points
 * `float(acc)` becomes `fl(float(acc) + fl(zero · sum))`, and where there are minima `fl(minimum · sum)` is added to y after that.
 * At `end` stand d and the sum ({@link Job.ENDS}).
 */
// @ts-ignore: decorator
@inline export function endGroup(y: v128, acc: v128, end: usize, scale: usize, zeros: usize, zero: usize, minima: i32): v128 {
  const by = v128.load32_splat(end)
  if (!zeros) return addGroup(y, acc, by, scale)
  const z = f32x4.mul(v128.load(zero), v128.load32_splat(end, 4))
  if (minima) return f32x4.add(addGroup(y, acc, by, scale), z)
  return f32x4.add(y, f32x4.mul(f32x4.mul(f32x4.add(f32x4.convert_i32x4_s(acc), z), by), v128.load(scale)))
}

// @ts-ignore: decorator
@inline export function addGroup(y: v128, acc: v128, by: v128, scale: usize): v128 {
  return f32x4.add(y, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(acc), by), v128.load(scale)))
}

/** The same for eight results of a tile, whose sums wait in memory at `y`. */
// @ts-ignore: decorator
@inline export function endTile(y: usize, d0: v128, d1: v128, end: usize, scale: usize, zeros: usize, zero: usize, minima: i32): void {
  v128.store(y, endGroup(v128.load(y), d0, end, scale, zeros, zero, minima))
  v128.store(y, endGroup(v128.load(y, 16), d1, end, scale + 16, zeros, zero + 16, minima), 16)
}

/** The same without zero points, and with minima, where the scales of the weights are there already: read once for all rows of a tile. */
// @ts-ignore: decorator
@inline export function endTilePlain(y: usize, d0: v128, d1: v128, end: usize, s0: v128, s1: v128): void {
  const by = v128.load32_splat(end)
  const a0 = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(d0), by), s0), a1 = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(d1), by), s1)
  v128.store(y, f32x4.add(v128.load(y), a0))
  v128.store(y, f32x4.add(v128.load(y, 16), a1), 16)
}
// @ts-ignore: decorator
@inline export function endTileMinima(y: usize, d0: v128, d1: v128, end: usize, s0: v128, s1: v128, z0: v128, z1: v128): void {
  const by = v128.load32_splat(end), sum = v128.load32_splat(end, 4)
  const a0 = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(d0), by), s0), a1 = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(d1), by), s1)
  v128.store(y, f32x4.add(f32x4.add(v128.load(y), a0), f32x4.mul(z0, sum)))
  v128.store(y, f32x4.add(f32x4.add(v128.load(y, 16), a1), f32x4.mul(z1, sum)), 16)
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
