/** A matrix inside an array: offset of its first element and distance between rows, in elements. */
export interface ProductOperand {
  readonly data: Float64Array
  readonly offset: number
  readonly stride: number
}

/**
 * `c[i, j] += sign · Σ_k a[i, k] · b[j, k]`: the inner loop of everything fast here. Both operands are read along rows and
 * sixteen sums stay in registers. With `upperOnly`, entries with `j < i` may or may not be written.
 */
export function addProductOfRows(
  c: ProductOperand,
  a: ProductOperand,
  b: ProductOperand,
  m: number,
  n: number,
  k: number,
  sign: 1 | -1,
  upperOnly = false,
): void {
  const m4 = m - (m % 4)
  const n4 = n - (n % 4)
  for (let j = 0; j < n4; j += 4) {
    const rowsWanted = upperOnly ? Math.min(m4, j + 4) : m4
    for (let i = 0; i < rowsWanted; i += 4) tile(c, a, b, i, j, k, sign)
  }
  for (let i = 0; i < m; i++) {
    const from = i < m4 ? n4 : 0
    for (let j = upperOnly ? Math.max(from, i) : from; j < n; j++) single(c, a, b, i, j, k, sign)
  }
}

function tile(c: ProductOperand, a: ProductOperand, b: ProductOperand, i: number, j: number, k: number, sign: 1 | -1): void {
  const ad = a.data
  const bd = b.data
  let a0 = a.offset + i * a.stride
  let a1 = a0 + a.stride
  let a2 = a1 + a.stride
  let a3 = a2 + a.stride
  let b0 = b.offset + j * b.stride
  let b1 = b0 + b.stride
  let b2 = b1 + b.stride
  let b3 = b2 + b.stride
  let s00 = 0, s01 = 0, s02 = 0, s03 = 0
  let s10 = 0, s11 = 0, s12 = 0, s13 = 0
  let s20 = 0, s21 = 0, s22 = 0, s23 = 0
  let s30 = 0, s31 = 0, s32 = 0, s33 = 0
  for (let p = 0; p < k; p++) {
    const x0 = ad[a0++], x1 = ad[a1++], x2 = ad[a2++], x3 = ad[a3++]
    const y0 = bd[b0++], y1 = bd[b1++], y2 = bd[b2++], y3 = bd[b3++]
    s00 += x0 * y0; s01 += x0 * y1; s02 += x0 * y2; s03 += x0 * y3
    s10 += x1 * y0; s11 += x1 * y1; s12 += x1 * y2; s13 += x1 * y3
    s20 += x2 * y0; s21 += x2 * y1; s22 += x2 * y2; s23 += x2 * y3
    s30 += x3 * y0; s31 += x3 * y1; s32 += x3 * y2; s33 += x3 * y3
  }
  const cd = c.data
  let o = c.offset + i * c.stride + j
  cd[o] += sign * s00; cd[o + 1] += sign * s01; cd[o + 2] += sign * s02; cd[o + 3] += sign * s03
  o += c.stride
  cd[o] += sign * s10; cd[o + 1] += sign * s11; cd[o + 2] += sign * s12; cd[o + 3] += sign * s13
  o += c.stride
  cd[o] += sign * s20; cd[o + 1] += sign * s21; cd[o + 2] += sign * s22; cd[o + 3] += sign * s23
  o += c.stride
  cd[o] += sign * s30; cd[o + 1] += sign * s31; cd[o + 2] += sign * s32; cd[o + 3] += sign * s33
}

function single(c: ProductOperand, a: ProductOperand, b: ProductOperand, i: number, j: number, k: number, sign: 1 | -1): void {
  let p = a.offset + i * a.stride
  let q = b.offset + j * b.stride
  let sum = 0
  for (let end = p + k; p < end; p++, q++) sum += a.data[p] * b.data[q]
  c.data[c.offset + i * c.stride + j] += sign * sum
}
