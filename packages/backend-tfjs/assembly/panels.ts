// Packed panels and the tile of a blocked matrix product; see index.ts for what pointers and sizes mean.

export const MR: i32 = 6
export const NR: i32 = 8
export const KC: i32 = 256

/** Floats of scratch that `gemm` needs: a block of B, a panel of A, one tile. */
export function gemmScratch(n: i32): i32 {
  return KC * ((n + NR - 1) / NR) * NR + KC * MR + MR * NR
}

// @ts-ignore: decorator
@inline
export function packB(b: usize, rs: i32, cs: i32, k0: i32, kc: i32, n: i32, to: usize): void {
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
export function packA(a: usize, rs: i32, cs: i32, i: i32, height: i32, k0: i32, kc: i32, to: usize): void {
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
export function panel(packedA: usize, packedB: usize, kc: i32, c: usize, i: i32, height: i32, n: i32, edge: usize, add: bool): void {
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
