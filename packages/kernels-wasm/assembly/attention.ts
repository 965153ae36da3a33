import * as Cache from './cache'
import { exp, tanh, total } from './math'
import * as Step from './step'

/** Heads that read the same keys and values together. */
const TOGETHER: i32 = 4
/** Positions whose values are summed at a time, so that they stay in the nearest cache. A multiple of 8. */
const CHUNK: i32 = 64
const LEAST: f32 = -3.4028234663852886e38

/**
 * Items of an attention step: rows × heads of the cache, or rows × heads of queries where that is needed to give every
 * thread something to do. Each head is computed by itself, so the bits do not depend on it.
 */
export function attentionItems(step: usize, rows: i32, threads: i32): i32 {
  const heads = Cache.word(Step.pointer(step, Step.P1), Cache.HEADS)
  return rows * (rows * heads >= 2 * threads || threads == 1 ? heads : Step.word(step, Step.N1))
}

/**
 * `softmax(scale · q kᵀ) v`. Sums run over the size of a head in order, over positions in order; the sum of the softmax in
 * four lanes. Words: A queries, TO results, N1 heads, N2 window (0: none), F1 scale, F2 cap (0: none), P1 cache.
 * Scratch: scores `[4][capacity]`, then keys of 32 positions or values of {@link CHUNK}, then sums `[4][padded size]`.
 */
export function attend(step: usize, start: i32, rows: i32, threads: i32, from: i32, to: i32, scratch: usize): void {
  const cache = Step.pointer(step, Step.P1), heads = Step.word(step, Step.N1), cacheHeads = Cache.word(cache, Cache.HEADS)
  const shared = heads / cacheHeads, all = attentionItems(step, rows, threads) == rows * cacheHeads
  const each = all ? cacheHeads : heads
  for (let item = from; item < to; item++) {
    const row = item / each, which = item % each
    const first = all ? which * shared : which, last = all ? first + shared : first + 1
    for (let head = first; head < last; head += TOGETHER) {
      heads4(step, cache, row, start + row, head, min(TOGETHER, last - head), head / shared, scratch)
    }
  }
}

function heads4(step: usize, cache: usize, row: i32, position: i32, head: i32, count: i32, cacheHead: i32, scratch: usize): void {
  const size = Cache.word(cache, Cache.SIZE), padded = Cache.word(cache, Cache.PADDED), capacity = Cache.word(cache, Cache.CAPACITY)
  const window = Step.word(step, Step.N2)
  const first = window > 0 ? max(0, position - window + 1) : 0
  // scores stand from the first position of a run of 32 on
  const origin = first & ~31, end = (position + 32) & ~31
  const row4 = <usize>capacity << 2
  const room = scratch + row4 * TOGETHER
  const q = Step.pointer(step, Step.A) + <usize>row * Step.pointer(step, Step.A_STRIDE) + (<usize>(head * size) << 2)
  for (let p = origin; p < end; p += 32) {
    const k = Cache.expandKeys(cache, cacheHead, p >> 3, 4, room)
    const to = scratch + (<usize>(p - origin) << 2)
    if (count == 3) scores3(k, q, size, to, row4)
    else if (count == 4) scores4(k, q, size, to, row4)
    else {
      scores1(k, q, size, to)
      if (count == 2) scores1(k, q + (<usize>size << 2), size, to + row4)
    }
  }
  for (let h = 0; h < count; h++) softmax(step, scratch + <usize>h * row4, first - origin, position - origin + 1, end - origin)
  const sums = room + (<usize>(max(padded, 8) * max(CHUNK, 32)) << 2)
  memory.fill(sums, 0, <usize>(count * padded) << 2)
  for (let p = first; p <= position; p += CHUNK) {
    const n = min(CHUNK, position + 1 - p)
    const v = Cache.expandValues(cache, cacheHead, p, n, room)
    const weights = scratch + (<usize>(p - origin) << 2)
    if (count == 3) mix3(v, weights, n, padded, sums, row4)
    else if (count == 4) mix4(v, weights, n, padded, sums, row4)
    else {
      mix1(v, weights, n, padded, sums)
      if (count == 2) mix1(v, weights + row4, n, padded, sums + (<usize>padded << 2))
    }
  }
  const out = Step.pointer(step, Step.TO) + <usize>row * Step.pointer(step, Step.TO_STRIDE) + (<usize>(head * size) << 2)
  for (let h = 0; h < count; h++) {
    memory.copy(out + (<usize>(h * size) << 2), sums + (<usize>(h * padded) << 2), <usize>size << 2)
  }
}

/** Scores to weights that sum to 1, 0 outside `from … to`. */
function softmax(step: usize, scores: usize, from: i32, to: i32, end: i32): void {
  const scale = f32x4.splat(load<f32>(step + Step.F1)), cap = load<f32>(step + Step.F2)
  if (cap > 0) {
    const c = f32x4.splat(cap)
    for (let p = 0; p < end; p += 4) {
      const at = scores + (<usize>p << 2)
      v128.store(at, f32x4.mul(c, tanh(f32x4.div(f32x4.mul(v128.load(at), scale), c))))
    }
  } else {
    for (let p = 0; p < end; p += 4) {
      const at = scores + (<usize>p << 2)
      v128.store(at, f32x4.mul(v128.load(at), scale))
    }
  }
  for (let p = 0; p < from; p++) store<f32>(scores + (<usize>p << 2), LEAST)
  for (let p = to; p < end; p++) store<f32>(scores + (<usize>p << 2), LEAST)
  let tops = f32x4.splat(LEAST)
  for (let p = 0; p < end; p += 4) tops = f32x4.max(tops, v128.load(scores + (<usize>p << 2)))
  const top = f32x4.splat(max<f32>(max<f32>(f32x4.extract_lane(tops, 0), f32x4.extract_lane(tops, 1)), max<f32>(f32x4.extract_lane(tops, 2), f32x4.extract_lane(tops, 3))))
  for (let p = 0; p < end; p += 4) {
    const at = scores + (<usize>p << 2)
    v128.store(at, exp(f32x4.sub(v128.load(at), top)))
  }
  for (let p = 0; p < from; p++) store<f32>(scores + (<usize>p << 2), 0)
  for (let p = to; p < end; p++) store<f32>(scores + (<usize>p << 2), 0)
  let sums = f32x4.splat(0)
  for (let p = 0; p < end; p += 4) sums = f32x4.add(sums, v128.load(scores + (<usize>p << 2)))
  const inverse = f32x4.splat(<f32>1 / total(sums))
  for (let p = 0; p < end; p += 4) {
    const at = scores + (<usize>p << 2)
    v128.store(at, f32x4.mul(v128.load(at), inverse))
  }
}

// @ts-ignore: decorator
@inline function grow(sum: v128, a: v128, b: v128): v128 {
  return f32x4.add(sum, f32x4.mul(a, b))
}

/** One head × 32 positions: eight sums keep the adders busy. */
function scores1(k: usize, q: usize, size: i32, to: usize): void {
  const block = <usize>size << 5
  let k1 = k + block, k2 = k1 + block, k3 = k2 + block
  let a0 = f32x4.splat(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0
  for (let i = 0; i < size; i++) {
    const x = v128.load32_splat(q)
    a0 = grow(a0, x, v128.load(k)), a1 = grow(a1, x, v128.load(k, 16))
    b0 = grow(b0, x, v128.load(k1)), b1 = grow(b1, x, v128.load(k1, 16))
    c0 = grow(c0, x, v128.load(k2)), c1 = grow(c1, x, v128.load(k2, 16))
    d0 = grow(d0, x, v128.load(k3)), d1 = grow(d1, x, v128.load(k3, 16))
    q += 4
    k += 32
    k1 += 32
    k2 += 32
    k3 += 32
  }
  v128.store(to, a0), v128.store(to, a1, 16), v128.store(to, b0, 32), v128.store(to, b1, 48)
  v128.store(to, c0, 64), v128.store(to, c1, 80), v128.store(to, d0, 96), v128.store(to, d1, 112)
}

/** Three heads × 32 positions, eight at a time. */
function scores3(k: usize, q: usize, size: i32, to: usize, stride: usize): void {
  const row = <usize>size << 2
  for (let block = 0; block < 4; block++) {
    let q0 = q, q1 = q + row, q2 = q1 + row
    let a0 = f32x4.splat(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0
    for (let i = 0; i < size; i++) {
      const k0 = v128.load(k), k1 = v128.load(k, 16)
      let x = v128.load32_splat(q0)
      a0 = grow(a0, x, k0), a1 = grow(a1, x, k1)
      x = v128.load32_splat(q1)
      b0 = grow(b0, x, k0), b1 = grow(b1, x, k1)
      x = v128.load32_splat(q2)
      c0 = grow(c0, x, k0), c1 = grow(c1, x, k1)
      q0 += 4
      q1 += 4
      q2 += 4
      k += 32
    }
    v128.store(to, a0), v128.store(to, a1, 16)
    v128.store(to + stride, b0), v128.store(to + stride, b1, 16)
    v128.store(to + 2 * stride, c0), v128.store(to + 2 * stride, c1, 16)
    to += 32
  }
}

function scores4(k: usize, q: usize, size: i32, to: usize, stride: usize): void {
  const row = <usize>size << 2
  for (let block = 0; block < 4; block++) {
    let q0 = q, q1 = q + row, q2 = q1 + row, q3 = q2 + row
    let a0 = f32x4.splat(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0
    for (let i = 0; i < size; i++) {
      const k0 = v128.load(k), k1 = v128.load(k, 16)
      let x = v128.load32_splat(q0)
      a0 = grow(a0, x, k0), a1 = grow(a1, x, k1)
      x = v128.load32_splat(q1)
      b0 = grow(b0, x, k0), b1 = grow(b1, x, k1)
      x = v128.load32_splat(q2)
      c0 = grow(c0, x, k0), c1 = grow(c1, x, k1)
      x = v128.load32_splat(q3)
      d0 = grow(d0, x, k0), d1 = grow(d1, x, k1)
      q0 += 4
      q1 += 4
      q2 += 4
      q3 += 4
      k += 32
    }
    v128.store(to, a0), v128.store(to, a1, 16)
    v128.store(to + stride, b0), v128.store(to + stride, b1, 16)
    v128.store(to + 2 * stride, c0), v128.store(to + 2 * stride, c1, 16)
    v128.store(to + 3 * stride, d0), v128.store(to + 3 * stride, d1, 16)
    to += 32
  }
}

/** Adds `weights · values` to the sums of one head, 32 floats at a time, then eight. */
function mix1(v: usize, weights: usize, count: i32, padded: i32, sums: usize): void {
  const stride = <usize>padded << 2
  let i = 0
  for (; i + 32 <= padded; i += 32) {
    const s = sums + (<usize>i << 2)
    let w = weights, x = v + (<usize>i << 2)
    let a0 = v128.load(s), a1 = v128.load(s, 16), b0 = v128.load(s, 32), b1 = v128.load(s, 48)
    let c0 = v128.load(s, 64), c1 = v128.load(s, 80), d0 = v128.load(s, 96), d1 = v128.load(s, 112)
    for (let p = 0; p < count; p++) {
      const t = v128.load32_splat(w)
      a0 = grow(a0, t, v128.load(x)), a1 = grow(a1, t, v128.load(x, 16)), b0 = grow(b0, t, v128.load(x, 32)), b1 = grow(b1, t, v128.load(x, 48))
      c0 = grow(c0, t, v128.load(x, 64)), c1 = grow(c1, t, v128.load(x, 80)), d0 = grow(d0, t, v128.load(x, 96)), d1 = grow(d1, t, v128.load(x, 112))
      w += 4
      x += stride
    }
    v128.store(s, a0), v128.store(s, a1, 16), v128.store(s, b0, 32), v128.store(s, b1, 48)
    v128.store(s, c0, 64), v128.store(s, c1, 80), v128.store(s, d0, 96), v128.store(s, d1, 112)
  }
  for (; i < padded; i += 8) {
    const s = sums + (<usize>i << 2)
    let w = weights, x = v + (<usize>i << 2)
    let a0 = v128.load(s), a1 = v128.load(s, 16)
    for (let p = 0; p < count; p++) {
      const t = v128.load32_splat(w)
      a0 = grow(a0, t, v128.load(x)), a1 = grow(a1, t, v128.load(x, 16))
      w += 4
      x += stride
    }
    v128.store(s, a0), v128.store(s, a1, 16)
  }
}

/** The same for three heads, eight floats at a time. */
function mix3(v: usize, weights: usize, count: i32, padded: i32, sums: usize, row: usize): void {
  const stride = <usize>padded << 2
  for (let i = 0; i < padded; i += 8) {
    const s = sums + (<usize>i << 2), t = s + stride, u = t + stride
    let w = weights, w1 = w + row, w2 = w1 + row, x = v + (<usize>i << 2)
    let a0 = v128.load(s), a1 = v128.load(s, 16), b0 = v128.load(t), b1 = v128.load(t, 16), c0 = v128.load(u), c1 = v128.load(u, 16)
    for (let p = 0; p < count; p++) {
      const v0 = v128.load(x), v1 = v128.load(x, 16)
      let y = v128.load32_splat(w)
      a0 = grow(a0, y, v0), a1 = grow(a1, y, v1)
      y = v128.load32_splat(w1)
      b0 = grow(b0, y, v0), b1 = grow(b1, y, v1)
      y = v128.load32_splat(w2)
      c0 = grow(c0, y, v0), c1 = grow(c1, y, v1)
      w += 4
      w1 += 4
      w2 += 4
      x += stride
    }
    v128.store(s, a0), v128.store(s, a1, 16), v128.store(t, b0), v128.store(t, b1, 16), v128.store(u, c0), v128.store(u, c1, 16)
  }
}

function mix4(v: usize, weights: usize, count: i32, padded: i32, sums: usize, row: usize): void {
  const stride = <usize>padded << 2
  for (let i = 0; i < padded; i += 8) {
    const s = sums + (<usize>i << 2), t = s + stride, u = t + stride, z = u + stride
    let w = weights, w1 = w + row, w2 = w1 + row, w3 = w2 + row, x = v + (<usize>i << 2)
    let a0 = v128.load(s), a1 = v128.load(s, 16), b0 = v128.load(t), b1 = v128.load(t, 16)
    let c0 = v128.load(u), c1 = v128.load(u, 16), d0 = v128.load(z), d1 = v128.load(z, 16)
    for (let p = 0; p < count; p++) {
      const v0 = v128.load(x), v1 = v128.load(x, 16)
      let y = v128.load32_splat(w)
      a0 = grow(a0, y, v0), a1 = grow(a1, y, v1)
      y = v128.load32_splat(w1)
      b0 = grow(b0, y, v0), b1 = grow(b1, y, v1)
      y = v128.load32_splat(w2)
      c0 = grow(c0, y, v0), c1 = grow(c1, y, v1)
      y = v128.load32_splat(w3)
      d0 = grow(d0, y, v0), d1 = grow(d1, y, v1)
      w += 4
      w1 += 4
      w2 += 4
      w3 += 4
      x += stride
    }
    v128.store(s, a0), v128.store(s, a1, 16), v128.store(t, b0), v128.store(t, b1, 16)
    v128.store(u, c0), v128.store(u, c1, 16), v128.store(z, d0), v128.store(z, d1, 16)
  }
}
