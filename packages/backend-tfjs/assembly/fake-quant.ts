// Fake quantization in one pass each way. A matrix is cut into granules, one scale (and zero point) each:
// - runs: each row into runs of `span` elements, the last one short where `span` does not divide it; scales lie in that order;
// - lines (`columnwise`): each column into spans of `span` rows; scales `[ceil(rows / span), columns]`.

const LEARNED: i32 = 0

/** Up to four values from p; the other lanes hold `fill`. */
// @ts-ignore: decorator
@inline
function loadSome(p: usize, count: i32, fill: f32): v128 {
  let v = f32x4.replace_lane(f32x4.splat(fill), 0, load<f32>(p))
  if (count > 1) v = f32x4.replace_lane(v, 1, load<f32>(p, 4))
  if (count > 2) v = f32x4.replace_lane(v, 2, load<f32>(p, 8))
  return v
}

// @ts-ignore: decorator
@inline
function storeSome(p: usize, v: v128, count: i32): void {
  store<f32>(p, f32x4.extract_lane(v, 0))
  if (count > 1) store<f32>(p, f32x4.extract_lane(v, 1), 4)
  if (count > 2) store<f32>(p, f32x4.extract_lane(v, 2), 8)
}

// @ts-ignore: decorator
@inline
function clampTo(v: v128, low: v128, high: v128): v128 {
  return f32x4.min(f32x4.max(v, low), high)
}

/** Learned: `rint(clamp(x / s)) s`. Affine, with `t` = 1 / s: `(clamp(rint(x t) + z) - z) s`. */
// @ts-ignore: decorator
@inline
function value(kind: i32, x: v128, s: v128, t: v128, z: v128, low: v128, high: v128): v128 {
  if (kind == LEARNED) return f32x4.mul(f32x4.nearest(clampTo(f32x4.div(x, s), low, high)), s)
  const code = clampTo(f32x4.add(f32x4.nearest(f32x4.mul(x, t)), z), low, high)
  return f32x4.mul(f32x4.sub(code, z), s)
}

// @ts-ignore: decorator
@inline
function reciprocal(kind: i32, s: v128): v128 {
  return kind == LEARNED ? s : f32x4.div(f32x4.splat(1), s)
}

// @ts-ignore: decorator
@inline
function runs(kind: i32, x: usize, scales: usize, zeros: usize, y: usize, rows: i32, columns: i32, span: i32, low: v128, high: v128): void {
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c += span) {
      const s = v128.load32_splat(scales)
      const t = reciprocal(kind, s)
      const z = zeros == 0 ? f32x4.splat(0) : v128.load32_splat(zeros)
      scales += 4
      if (zeros != 0) zeros += 4
      let left = min(span, columns - c)
      for (; left >= 4; left -= 4) {
        v128.store(y, value(kind, v128.load(x), s, t, z, low, high))
        x += 16
        y += 16
      }
      if (left > 0) {
        storeSome(y, value(kind, loadSome(x, left, 0), s, t, z, low, high), left)
        x += <usize>left << 2
        y += <usize>left << 2
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function lines(kind: i32, x: usize, scales: usize, zeros: usize, y: usize, rows: i32, columns: i32, span: i32, low: v128, high: v128): void {
  const zero = f32x4.splat(0)
  for (let r = 0; r < rows; r++) {
    const at = <usize>(r / span * columns) << 2
    let c = 0
    for (; c + 4 <= columns; c += 4) {
      const lane = at + (<usize>c << 2)
      const s = v128.load(scales + lane)
      v128.store(y, value(kind, v128.load(x), s, reciprocal(kind, s), zeros == 0 ? zero : v128.load(zeros + lane), low, high))
      x += 16
      y += 16
    }
    const left = columns - c
    if (left > 0) {
      const lane = at + (<usize>c << 2)
      const s = loadSome(scales + lane, left, 1)
      storeSome(y, value(kind, loadSome(x, left, 0), s, reciprocal(kind, s), zeros == 0 ? zero : loadSome(zeros + lane, left, 0), low, high), left)
      x += <usize>left << 2
      y += <usize>left << 2
    }
  }
}

/** Kinds: 0 learned (LSQ), 1 affine with a straight-through estimator. `zeros` 0: no zero points. */
export function fakeQuant(kind: i32, x: usize, scales: usize, zeros: usize, y: usize, rows: i32, columns: i32, span: i32, columnwise: bool, low: f32, high: f32): void {
  const l = f32x4.splat(low), h = f32x4.splat(high)
  if (kind == LEARNED) {
    if (columnwise) lines(0, x, scales, 0, y, rows, columns, span, l, h)
    else runs(0, x, scales, 0, y, rows, columns, span, l, h)
  } else if (columnwise) lines(1, x, scales, zeros, y, rows, columns, span, l, h)
  else runs(1, x, scales, zeros, y, rows, columns, span, l, h)
}

// @ts-ignore: decorator
@inline
function inRange(v: v128, low: v128, high: v128): v128 {
  return v128.and(f32x4.ge(v, low), f32x4.le(v, high))
}

/** What dy is multiplied with for the scale's gradient: `rint(clamp(v)) - v` inside, the clamped end outside. */
// @ts-ignore: decorator
@inline
function slope(ratio: v128, inside: v128, low: v128, high: v128): v128 {
  return f32x4.sub(f32x4.nearest(clampTo(ratio, low, high)), v128.and(inside, ratio))
}

// @ts-ignore: decorator
@inline
function total(v: v128): f32 {
  return (f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1)) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
}

/** Elements after which partial sums go into a double: sums over a whole activation keep float32's precision. */
const BLOCK: i32 = 4096

/**
 * Gradients of the learned kind: `dx = dy` where `low <= x / s <= high`, and each scale's, times `share`; a share of 0 stands for
 * `1 / sqrt(elements · high)`.
 */
export function lsqGradient(x: usize, scales: usize, dy: usize, dx: usize, ds: usize, rows: i32, columns: i32, span: i32, columnwise: bool, low: f32, high: f32, share: f32): void {
  const l = f32x4.splat(low), h = f32x4.splat(high)
  if (columnwise) lsqLines(x, scales, dy, dx, ds, rows, columns, span, l, h)
  else lsqRuns(x, scales, dy, dx, ds, rows, columns, span, l, h)
  const granules = columnwise ? (rows + span - 1) / span * columns : rows * ((columns + span - 1) / span)
  const most = max<f32>(high, 1)
  for (let i = 0; i < granules; i++) {
    const to = ds + (<usize>i << 2)
    if (share != 0) {
      store<f32>(to, load<f32>(to) * share)
      continue
    }
    const begin = columnwise ? i / columns * span : i % ((columns + span - 1) / span) * span
    const count = min(span, (columnwise ? rows : columns) - begin)
    store<f32>(to, load<f32>(to) * (1 / sqrt<f32>(<f32>count * most)))
  }
}

// @ts-ignore: decorator
@inline
function lsqRuns(x: usize, scales: usize, dy: usize, dx: usize, ds: usize, rows: i32, columns: i32, span: i32, low: v128, high: v128): void {
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c += span) {
      const s = v128.load32_splat(scales)
      let left = min(span, columns - c)
      let sum: f64 = 0
      while (left >= 4) {
        let part = f32x4.splat(0)
        let vectors = min(BLOCK, left) >> 2
        left -= vectors << 2
        for (; vectors > 0; vectors--) {
          const ratio = f32x4.div(v128.load(x), s)
          const flow = v128.load(dy)
          const inside = inRange(ratio, low, high)
          v128.store(dx, v128.and(flow, inside))
          part = f32x4.add(part, f32x4.mul(flow, slope(ratio, inside, low, high)))
          x += 16
          dy += 16
          dx += 16
        }
        sum += <f64>total(part)
      }
      if (left > 0) {
        const ratio = f32x4.div(loadSome(x, left, 0), s)
        const flow = loadSome(dy, left, 0)
        const inside = inRange(ratio, low, high)
        storeSome(dx, v128.and(flow, inside), left)
        sum += <f64>total(f32x4.mul(flow, slope(ratio, inside, low, high)))
        x += <usize>left << 2
        dy += <usize>left << 2
        dx += <usize>left << 2
      }
      store<f32>(ds, <f32>sum)
      scales += 4
      ds += 4
    }
  }
}

/** `ds` starts at zero. */
// @ts-ignore: decorator
@inline
function lsqLines(x: usize, scales: usize, dy: usize, dx: usize, ds: usize, rows: i32, columns: i32, span: i32, low: v128, high: v128): void {
  for (let r = 0; r < rows; r++) {
    const at = <usize>(r / span * columns) << 2
    let c = 0
    for (; c + 4 <= columns; c += 4) {
      const lane = at + (<usize>c << 2)
      const ratio = f32x4.div(v128.load(x), v128.load(scales + lane))
      const flow = v128.load(dy)
      const inside = inRange(ratio, low, high)
      v128.store(dx, v128.and(flow, inside))
      v128.store(ds + lane, f32x4.add(v128.load(ds + lane), f32x4.mul(flow, slope(ratio, inside, low, high))))
      x += 16
      dy += 16
      dx += 16
    }
    const left = columns - c
    if (left > 0) {
      const lane = at + (<usize>c << 2)
      const ratio = f32x4.div(loadSome(x, left, 0), loadSome(scales + lane, left, 1))
      const flow = loadSome(dy, left, 0)
      const inside = inRange(ratio, low, high)
      storeSome(dx, v128.and(flow, inside), left)
      storeSome(ds + lane, f32x4.add(loadSome(ds + lane, left, 0), f32x4.mul(flow, slope(ratio, inside, low, high))), left)
      x += <usize>left << 2
      dy += <usize>left << 2
      dx += <usize>left << 2
    }
  }
}

/** Gradient of the affine kind: `dx = dy` where `low <= rint(x / s) + z <= high`, before the clamp. */
export function steGradient(x: usize, scales: usize, zeros: usize, dy: usize, dx: usize, rows: i32, columns: i32, span: i32, columnwise: bool, low: f32, high: f32): void {
  const l = f32x4.splat(low), h = f32x4.splat(high)
  const zero = f32x4.splat(0), one = f32x4.splat(1)
  for (let r = 0; r < rows; r++) {
    const line = <usize>(r / span * columns) << 2
    for (let c = 0; c < columns; ) {
      const run = columnwise ? columns : min(span, columns - c)
      const sRun = columnwise ? one : f32x4.div(one, v128.load32_splat(scales))
      const zRun = columnwise || zeros == 0 ? zero : v128.load32_splat(zeros)
      for (let e = 0; e < run; e += 4) {
        const left = run - e
        const lane = line + (<usize>e << 2)
        let t = sRun, z = zRun
        if (columnwise) {
          t = f32x4.div(one, left >= 4 ? v128.load(scales + lane) : loadSome(scales + lane, left, 1))
          if (zeros != 0) z = left >= 4 ? v128.load(zeros + lane) : loadSome(zeros + lane, left, 0)
        }
        if (left >= 4) {
          v128.store(dx, v128.and(v128.load(dy), inRange(f32x4.add(f32x4.nearest(f32x4.mul(v128.load(x), t)), z), l, h)))
          x += 16
          dy += 16
          dx += 16
        } else {
          storeSome(dx, v128.and(loadSome(dy, left, 0), inRange(f32x4.add(f32x4.nearest(f32x4.mul(loadSome(x, left, 0), t)), z), l, h)), left)
          x += <usize>left << 2
          dy += <usize>left << 2
          dx += <usize>left << 2
        }
      }
      if (!columnwise) {
        scales += 4
        if (zeros != 0) zeros += 4
      }
      c += run
    }
  }
}
