// Kernels that work inside the memory of the tfjs wasm backend: pointers are byte offsets into its heap, sizes count elements.
// No allocation here: scratch is handed in. No static data: address 0 of that memory is not ours.

const MR: i32 = 6
const NR: i32 = 8
const KC: i32 = 256

/** Floats of scratch that `gemm` needs: a block of B, a panel of A, one tile. */
export function gemmScratch(n: i32): i32 {
  return KC * ((n + NR - 1) / NR) * NR + KC * MR + MR * NR
}

// @ts-ignore: decorator
@inline
function packB(b: usize, rs: i32, cs: i32, k0: i32, kc: i32, n: i32, to: usize): void {
  for (let j = 0; j < n; j += NR) {
    const width = min(NR, n - j)
    let source = b + ((<usize>k0 * rs + <usize>j * cs) << 2)
    if (cs == 1 && width == NR) {
      for (let k = 0; k < kc; k++) {
        v128.store(to, v128.load(source))
        v128.store(to, v128.load(source, 16), 16)
        source += <usize>rs << 2
        to += 32
      }
    } else {
      for (let k = 0; k < kc; k++) {
        for (let l = 0; l < NR; l++) {
          store<f32>(to + (<usize>l << 2), l < width ? load<f32>(source + ((<usize>l * cs) << 2)) : 0)
        }
        source += <usize>rs << 2
        to += 32
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function packA(a: usize, rs: i32, cs: i32, i: i32, height: i32, k0: i32, kc: i32, to: usize): void {
  for (let r = 0; r < MR; r++) {
    let out = to + (<usize>r << 2)
    if (r < height) {
      let source = a + ((<usize>(i + r) * rs + <usize>k0 * cs) << 2)
      const step = <usize>cs << 2
      for (let k = 0; k < kc; k++) {
        store<f32>(out, load<f32>(source))
        source += step
        out += MR * 4
      }
    } else {
      for (let k = 0; k < kc; k++) {
        store<f32>(out, 0)
        out += MR * 4
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function put(c: usize, x: v128, y: v128, add: bool): void {
  if (add) {
    v128.store(c, f32x4.add(v128.load(c), x))
    v128.store(c, f32x4.add(v128.load(c, 16), y), 16)
  } else {
    v128.store(c, x)
    v128.store(c, y, 16)
  }
}

/** 6 rows by 8 columns: twelve accumulators, two columns of B and one broadcast fill the sixteen vector registers of x86. */
function tile(a: usize, b: usize, kc: i32, c: usize, stride: usize, add: bool): void {
  let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00
  let c30 = c00, c31 = c00, c40 = c00, c41 = c00, c50 = c00, c51 = c00
  for (let k = 0; k < kc; k++) {
    const b0 = v128.load(b)
    const b1 = v128.load(b, 16)
    let s = v128.load32_splat(a)
    c00 = f32x4.add(c00, f32x4.mul(s, b0)); c01 = f32x4.add(c01, f32x4.mul(s, b1))
    s = v128.load32_splat(a, 4)
    c10 = f32x4.add(c10, f32x4.mul(s, b0)); c11 = f32x4.add(c11, f32x4.mul(s, b1))
    s = v128.load32_splat(a, 8)
    c20 = f32x4.add(c20, f32x4.mul(s, b0)); c21 = f32x4.add(c21, f32x4.mul(s, b1))
    s = v128.load32_splat(a, 12)
    c30 = f32x4.add(c30, f32x4.mul(s, b0)); c31 = f32x4.add(c31, f32x4.mul(s, b1))
    s = v128.load32_splat(a, 16)
    c40 = f32x4.add(c40, f32x4.mul(s, b0)); c41 = f32x4.add(c41, f32x4.mul(s, b1))
    s = v128.load32_splat(a, 20)
    c50 = f32x4.add(c50, f32x4.mul(s, b0)); c51 = f32x4.add(c51, f32x4.mul(s, b1))
    a += 24
    b += 32
  }
  put(c, c00, c01, add)
  put(c + stride, c10, c11, add)
  put(c + 2 * stride, c20, c21, add)
  put(c + 3 * stride, c30, c31, add)
  put(c + 4 * stride, c40, c41, add)
  put(c + 5 * stride, c50, c51, add)
}

/** A packed panel times a packed block of B, added to or written over rows `i` to `i + height` of C. */
// @ts-ignore: decorator
@inline
function panel(packedA: usize, packedB: usize, kc: i32, c: usize, i: i32, height: i32, n: i32, edge: usize, add: bool): void {
  const stride = <usize>n << 2
  for (let j = 0; j < n; j += NR) {
    const width = min(NR, n - j)
    const at = c + ((<usize>i * n + j) << 2)
    const from = packedB + ((<usize>j * kc) << 2)
    if (height == MR && width == NR) {
      tile(packedA, from, kc, at, stride, add)
    } else {
      tile(packedA, from, kc, edge, NR * 4, false)
      for (let r = 0; r < height; r++) {
        for (let l = 0; l < width; l++) {
          const to = at + <usize>r * stride + (<usize>l << 2)
          const v = load<f32>(edge + ((<usize>r * NR + l) << 2))
          store<f32>(to, add ? load<f32>(to) + v : v)
        }
      }
    }
  }
}

/** C[m, n] = A B for each of `batch` stacked matrices; element (i, k) of A lies at i·rsA + k·csA, so that transposing is free. A stride of 0 repeats a matrix. */
export function gemm(a: usize, rsA: i32, csA: i32, b: usize, rsB: i32, csB: i32, c: usize, m: i32, n: i32, k: i32, batch: i32, strideA: i32, strideB: i32, scratch: usize): void {
  const packedB = scratch
  const packedA = packedB + ((<usize>KC * ((n + NR - 1) / NR) * NR) << 2)
  const edge = packedA + (KC * MR << 2)
  for (let s = 0; s < batch; s++) {
    for (let k0 = 0; k0 < k; k0 += KC) {
      const kc = min(KC, k - k0)
      packB(b, rsB, csB, k0, kc, n, packedB)
      for (let i = 0; i < m; i += MR) {
        const height = min(MR, m - i)
        packA(a, rsA, csA, i, height, k0, kc, packedA)
        panel(packedA, packedB, kc, c, i, height, n, edge, k0 > 0)
      }
    }
    a += <usize>strideA << 2
    b += <usize>strideB << 2
    c += (<usize>m * n) << 2
  }
}

/**
 * Gradient of a convolution's filter, `[kh, kw, ci, co]`: an implicit matrix product, rows (kernel y, kernel x, in channel),
 * inner dimension (image, out y, out x), columns out channels. The gathered rows are never stored whole.
 */
export function convFilter(
  x: usize, dy: usize, dw: usize, images: i32, h: i32, w: i32, ci: i32, oh: i32, ow: i32, co: i32, kh: i32, kw: i32,
  strideY: i32, strideX: i32, top: i32, left: i32, scratch: usize,
): void {
  const packedB = scratch
  const packedA = packedB + ((<usize>KC * ((co + NR - 1) / NR) * NR) << 2)
  const edge = packedA + (KC * MR << 2)
  const inner = images * oh * ow
  const rows = kh * kw * ci
  for (let k0 = 0; k0 < inner; k0 += KC) {
    const kc = min(KC, inner - k0)
    packB(dy, co, 1, k0, kc, co, packedB)
    for (let i = 0; i < rows; i += MR) {
      const height = min(MR, rows - i)
      for (let r = 0; r < MR; r++) {
        let out = packedA + (<usize>r << 2)
        if (r >= height) {
          for (let k = 0; k < kc; k++) { store<f32>(out, 0); out += MR * 4 }
          continue
        }
        const row = i + r
        const channel = row % ci
        const fx = (row / ci) % kw
        const fy = row / (ci * kw)
        let px = k0 % ow
        let py = (k0 / ow) % oh
        let image = k0 / (ow * oh)
        let k = 0
        while (k < kc) {
          const run = min(kc - k, ow - px)
          const y = py * strideY + fy - top
          if (y < 0 || y >= h) {
            for (let e = 0; e < run; e++) { store<f32>(out, 0); out += MR * 4 }
          } else {
            const line = x + ((((<usize>image * h + y) * w) * ci + channel) << 2)
            let col = px * strideX + fx - left
            for (let e = 0; e < run; e++) {
              store<f32>(out, col >= 0 && col < w ? load<f32>(line + ((<usize>col * ci) << 2)) : 0)
              col += strideX
              out += MR * 4
            }
          }
          k += run
          px = 0
          if (++py == oh) { py = 0; image++ }
        }
      }
      panel(packedA, packedB, kc, dw, i, height, co, edge, k0 > 0)
    }
  }
}

/** Gradient of a depthwise filter `[kh, kw, c, multiplier]`; `dw` starts at zero. */
export function depthwiseFilter(
  x: usize, dy: usize, dw: usize, images: i32, h: i32, w: i32, channels: i32, multiplier: i32, oh: i32, ow: i32, kh: i32, kw: i32,
  strideY: i32, strideX: i32, dilationY: i32, dilationX: i32, top: i32, left: i32,
): void {
  const out = channels * multiplier
  for (let image = 0; image < images; image++) {
    for (let py = 0; py < oh; py++) {
      for (let fy = 0; fy < kh; fy++) {
        const y = py * strideY + fy * dilationY - top
        if (y < 0 || y >= h) continue
        for (let px = 0; px < ow; px++) {
          const g = dy + ((((<usize>image * oh + py) * ow + px) * out) << 2)
          for (let fx = 0; fx < kw; fx++) {
            const col = px * strideX + fx * dilationX - left
            if (col < 0 || col >= w) continue
            const from = x + ((((<usize>image * h + y) * w + col) * channels) << 2)
            const to = dw + (((<usize>fy * kw + fx) * out) << 2)
            if (multiplier == 1) {
              let c = 0
              for (; c + 4 <= channels; c += 4) {
                const at = <usize>c << 2
                v128.store(to + at, f32x4.add(v128.load(to + at), f32x4.mul(v128.load(from + at), v128.load(g + at))))
              }
              for (; c < channels; c++) {
                const at = <usize>c << 2
                store<f32>(to + at, load<f32>(to + at) + load<f32>(from + at) * load<f32>(g + at))
              }
            } else {
              for (let c = 0; c < channels; c++) {
                const v = load<f32>(from + (<usize>c << 2))
                for (let q = 0; q < multiplier; q++) {
                  const at = <usize>(c * multiplier + q) << 2
                  store<f32>(to + at, load<f32>(to + at) + v * load<f32>(g + at))
                }
              }
            }
          }
        }
      }
    }
  }
}

/** out[ids[r]] += x[r]; rows whose id is outside are dropped, as tfjs does. `out` starts at zero. */
export function segmentSum(x: usize, ids: usize, out: usize, rows: i32, inner: i32, segments: i32): void {
  for (let r = 0; r < rows; r++) {
    const id = load<i32>(ids + (<usize>r << 2))
    if (id < 0 || id >= segments) continue
    const from = x + ((<usize>r * inner) << 2)
    const to = out + ((<usize>id * inner) << 2)
    let i = 0
    for (; i + 4 <= inner; i += 4) {
      const at = <usize>i << 2
      v128.store(to + at, f32x4.add(v128.load(to + at), v128.load(from + at)))
    }
    for (; i < inner; i++) {
      const at = <usize>i << 2
      store<f32>(to + at, load<f32>(to + at) + load<f32>(from + at))
    }
  }
}

/** Sums of columns of `[rows, columns]`: four rows a pass keep partial sums short. `out` starts at zero. */
export function sumRows(x: usize, out: usize, rows: i32, columns: i32): void {
  const line = <usize>columns << 2
  let r = 0
  for (; r + 4 <= rows; r += 4) {
    const from = x + <usize>r * line
    let c = 0
    for (; c + 4 <= columns; c += 4) {
      const at = from + (<usize>c << 2)
      const to = out + (<usize>c << 2)
      const s = f32x4.add(f32x4.add(v128.load(at), v128.load(at + line)), f32x4.add(v128.load(at + 2 * line), v128.load(at + 3 * line)))
      v128.store(to, f32x4.add(v128.load(to), s))
    }
    for (; c < columns; c++) {
      const at = from + (<usize>c << 2)
      const to = out + (<usize>c << 2)
      store<f32>(to, load<f32>(to) + (load<f32>(at) + load<f32>(at + line)) + (load<f32>(at + 2 * line) + load<f32>(at + 3 * line)))
    }
  }
  for (; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const to = out + (<usize>c << 2)
      store<f32>(to, load<f32>(to) + load<f32>(x + <usize>r * line + (<usize>c << 2)))
    }
  }
}

/** Sums of rows of `[rows, columns]`, eight partial sums a row. */
export function sumColumns(x: usize, out: usize, rows: i32, columns: i32): void {
  for (let r = 0; r < rows; r++) {
    const from = x + ((<usize>r * columns) << 2)
    let s = f32x4.splat(0), t = s
    let c = 0
    for (; c + 8 <= columns; c += 8) {
      const at = from + (<usize>c << 2)
      s = f32x4.add(s, v128.load(at))
      t = f32x4.add(t, v128.load(at, 16))
    }
    s = f32x4.add(s, t)
    let sum = (f32x4.extract_lane(s, 0) + f32x4.extract_lane(s, 1)) + (f32x4.extract_lane(s, 2) + f32x4.extract_lane(s, 3))
    for (; c < columns; c++) sum += load<f32>(from + (<usize>c << 2))
    store<f32>(out + (<usize>r << 2), sum)
  }
}

// @ts-ignore: decorator
@inline
function arithmetic(kind: i32, a: v128, b: v128): v128 {
  if (kind == 0) return f32x4.add(a, b)
  if (kind == 1) return f32x4.sub(a, b)
  if (kind == 2) return f32x4.mul(a, b)
  if (kind == 3) return f32x4.div(a, b)
  return kind == 4 ? f32x4.min(a, b) : f32x4.max(a, b)
}

// @ts-ignore: decorator
@inline
function arithmeticOne(kind: i32, a: f32, b: f32): f32 {
  if (kind == 0) return a + b
  if (kind == 1) return a - b
  if (kind == 2) return a * b
  if (kind == 3) return a / b
  return kind == 4 ? min<f32>(a, b) : max<f32>(a, b)
}

/** `x [rows, columns]` with `y`: one value a column (`perRow` false) or one a row. Kinds: add, sub, mul, div, min, max; `swap`: y comes first. */
export function broadcast(kind: i32, x: usize, y: usize, out: usize, rows: i32, columns: i32, perRow: bool, swap: bool): void {
  for (let r = 0; r < rows; r++) {
    const line = (<usize>r * columns) << 2
    const one = load<f32>(y + (perRow ? <usize>r << 2 : 0))
    const splat = f32x4.splat(one)
    let c = 0
    for (; c + 4 <= columns; c += 4) {
      const at = <usize>c << 2
      const p = v128.load(x + line + at)
      const q = perRow ? splat : v128.load(y + at)
      v128.store(out + line + at, swap ? arithmetic(kind, q, p) : arithmetic(kind, p, q))
    }
    for (; c < columns; c++) {
      const at = <usize>c << 2
      const p = load<f32>(x + line + at)
      const q = perRow ? one : load<f32>(y + at)
      store<f32>(out + line + at, swap ? arithmeticOne(kind, q, p) : arithmeticOne(kind, p, q))
    }
  }
}

/** 0/1 bytes. Kinds: >, >=, <, <=, ==, !=. A `scalar` operand is one value. */
export function compare(kind: i32, a: usize, b: usize, out: usize, n: i32, scalarA: bool, scalarB: bool): void {
  let i = 0
  const firstA = f32x4.splat(load<f32>(a))
  const firstB = f32x4.splat(load<f32>(b))
  const one = i8x16.splat(1)
  for (; i + 16 <= n; i += 16) {
    const at = <usize>i << 2
    const m0 = compareFour(kind, scalarA ? firstA : v128.load(a + at), scalarB ? firstB : v128.load(b + at))
    const m1 = compareFour(kind, scalarA ? firstA : v128.load(a + at, 16), scalarB ? firstB : v128.load(b + at, 16))
    const m2 = compareFour(kind, scalarA ? firstA : v128.load(a + at, 32), scalarB ? firstB : v128.load(b + at, 32))
    const m3 = compareFour(kind, scalarA ? firstA : v128.load(a + at, 48), scalarB ? firstB : v128.load(b + at, 48))
    const bytes = i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(m0, m1), i16x8.narrow_i32x4_s(m2, m3))
    v128.store(out + i, v128.and(bytes, one))
  }
  for (; i < n; i++) {
    const x = load<f32>(a + (scalarA ? 0 : <usize>i << 2))
    const y = load<f32>(b + (scalarB ? 0 : <usize>i << 2))
    let m = false
    if (kind == 0) m = x > y
    else if (kind == 1) m = x >= y
    else if (kind == 2) m = x < y
    else if (kind == 3) m = x <= y
    else if (kind == 4) m = x == y
    else m = x != y
    store<u8>(out + i, m ? 1 : 0)
  }
}

// @ts-ignore: decorator
@inline
function compareFour(kind: i32, a: v128, b: v128): v128 {
  if (kind == 0) return f32x4.gt(a, b)
  if (kind == 1) return f32x4.ge(a, b)
  if (kind == 2) return f32x4.lt(a, b)
  if (kind == 3) return f32x4.le(a, b)
  if (kind == 4) return f32x4.eq(a, b)
  return f32x4.ne(a, b)
}

/** out = condition ? a : b, condition one byte an element. */
export function select(condition: usize, a: usize, b: usize, out: usize, n: i32): void {
  let i = 0
  const zero = i32x4.splat(0)
  for (; i + 4 <= n; i += 4) {
    const at = <usize>i << 2
    const four = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(condition + i)))
    v128.store(out + at, v128.bitselect(v128.load(b + at), v128.load(a + at), i32x4.eq(four, zero)))
  }
  for (; i < n; i++) {
    const at = <usize>i << 2
    store<f32>(out + at, load<u8>(condition + i) != 0 ? load<f32>(a + at) : load<f32>(b + at))
  }
}

/** Bytes 0/1 to 0.0/1.0. */
export function boolToFloat(x: usize, out: usize, n: i32): void {
  let i = 0
  for (; i + 4 <= n; i += 4) {
    const four = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(x + i)))
    v128.store(out + (<usize>i << 2), f32x4.convert_i32x4_s(four))
  }
  for (; i < n; i++) store<f32>(out + (<usize>i << 2), <f32>load<u8>(x + i))
}

/** Gradient of max pooling: each dy goes to the first largest value of its window. `dx` starts at zero. */
export function maxPool(
  x: usize, dy: usize, dx: usize, images: i32, h: i32, w: i32, channels: i32, oh: i32, ow: i32, kh: i32, kw: i32, strideY: i32, strideX: i32, top: i32, left: i32,
): void {
  for (let image = 0; image < images; image++) {
    for (let py = 0; py < oh; py++) {
      const y0 = max(0, py * strideY - top)
      const y1 = min(h, py * strideY - top + kh)
      for (let px = 0; px < ow; px++) {
        const x0 = max(0, px * strideX - left)
        const x1 = min(w, px * strideX - left + kw)
        if (y0 >= y1 || x0 >= x1) continue
        const g = dy + ((((<usize>image * oh + py) * ow + px) * channels) << 2)
        const first = (((<usize>image * h + y0) * w + x0) * channels) << 2
        let c = 0
        for (; c + 4 <= channels; c += 4) {
          const lane = <usize>c << 2
          let best = v128.load(x + first + lane)
          let where = i32x4.splat(<i32>first)
          for (let y = y0; y < y1; y++) {
            let at = (((<usize>image * h + y) * w + x0) * channels) << 2
            for (let col = x0; col < x1; col++) {
              const v = v128.load(x + at + lane)
              const more = f32x4.gt(v, best)
              best = v128.bitselect(v, best, more)
              where = v128.bitselect(i32x4.splat(<i32>at), where, more)
              at += <usize>channels << 2
            }
          }
          const to = dx + lane
          const p0 = to + <usize>i32x4.extract_lane(where, 0)
          const p1 = to + <usize>i32x4.extract_lane(where, 1) + 4
          const p2 = to + <usize>i32x4.extract_lane(where, 2) + 8
          const p3 = to + <usize>i32x4.extract_lane(where, 3) + 12
          store<f32>(p0, load<f32>(p0) + load<f32>(g + lane))
          store<f32>(p1, load<f32>(p1) + load<f32>(g + lane, 4))
          store<f32>(p2, load<f32>(p2) + load<f32>(g + lane, 8))
          store<f32>(p3, load<f32>(p3) + load<f32>(g + lane, 12))
        }
        for (; c < channels; c++) {
          const lane = <usize>c << 2
          let best = load<f32>(x + first + lane)
          let where = first
          for (let y = y0; y < y1; y++) {
            let at = (((<usize>image * h + y) * w + x0) * channels) << 2
            for (let col = x0; col < x1; col++) {
              const v = load<f32>(x + at + lane)
              if (v > best) {
                best = v
                where = at
              }
              at += <usize>channels << 2
            }
          }
          const to = dx + where + lane
          store<f32>(to, load<f32>(to) + load<f32>(g + lane))
        }
      }
    }
  }
}

/** Smallest (kind 4) or largest (kind 5) of each row of `[rows, columns]`. */
export function extremes(kind: i32, x: usize, out: usize, rows: i32, columns: i32): void {
  for (let r = 0; r < rows; r++) {
    const from = x + ((<usize>r * columns) << 2)
    let best = load<f32>(from)
    let c = 0
    if (columns >= 8) {
      let p = v128.load(from), q = v128.load(from, 16)
      for (c = 8; c + 8 <= columns; c += 8) {
        const at = from + (<usize>c << 2)
        p = arithmetic(kind, p, v128.load(at))
        q = arithmetic(kind, q, v128.load(at, 16))
      }
      p = arithmetic(kind, p, q)
      best = arithmeticOne(kind, arithmeticOne(kind, f32x4.extract_lane(p, 0), f32x4.extract_lane(p, 1)), arithmeticOne(kind, f32x4.extract_lane(p, 2), f32x4.extract_lane(p, 3)))
    }
    for (; c < columns; c++) best = arithmeticOne(kind, best, load<f32>(from + (<usize>c << 2)))
    store<f32>(out + (<usize>r << 2), best)
  }
}
