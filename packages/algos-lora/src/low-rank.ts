import { uniform } from './random.js'

/** `left [N, rank] · right [rank, K]`, the singular values shared between both. */
export interface LowRank {
  readonly left: Float32Array<ArrayBuffer>
  readonly right: Float32Array<ArrayBuffer>
}

/** Directions that are followed beside the wanted ones, and rounds: the spectrum of a rounding error is flat. */
const EXTRA = 8
const ROUNDS = 6

/**
 * The matrix of a rank that is nearest to `a [N, K]` (Halko et al. 2011): subspace iteration from a random start, then the singular
 * values within the subspace.
 */
export function lowRank(a: Float32Array, rows: number, columns: number, rank: number, seed: number): LowRank {
  const width = Math.min(rank + EXTRA, rows, columns)
  const random = uniform(seed)
  // Columns of the subspace lie one behind the other.
  let right = orthonormal(Float64Array.from({ length: width * columns }, () => random() - 0.5), columns)
  let left = new Float64Array(width * rows)
  for (let round = 0; round < ROUNDS; round++) {
    left = orthonormal(times(a, rows, columns, right, width), rows)
    right = transposedTimes(a, rows, columns, left, width)
    if (round < ROUNDS - 1) right = orthonormal(right, columns)
  }
  // a ≈ left · rightᵀ with left orthonormal: the singular values are those of right.
  const gram = new Float64Array(width * width)
  for (let i = 0; i < width; i++) for (let j = 0; j < width; j++) gram[i * width + j] = dot(right, i * columns, right, j * columns, columns)
  const { values, vectors } = jacobi(gram, width)
  const order = values.map((_, i) => i).sort((x, y) => values[y] - values[x]).slice(0, rank)
  const out = { left: new Float32Array(rows * rank), right: new Float32Array(rank * columns) }
  order.forEach((at, r) => {
    const sigma = Math.sqrt(Math.max(values[at], 0))
    if (sigma === 0) return
    const share = Math.sqrt(sigma)
    for (let n = 0; n < rows; n++) {
      let sum = 0
      for (let i = 0; i < width; i++) sum += left[i * rows + n] * vectors[i * width + at]
      out.left[n * rank + r] = sum * share
    }
    for (let k = 0; k < columns; k++) {
      let sum = 0
      for (let i = 0; i < width; i++) sum += right[i * columns + k] * vectors[i * width + at]
      out.right[r * columns + k] = (sum / sigma) * share
    }
  })
  return out
}

/** `a · basis`, a column each. */
function times(a: Float32Array, rows: number, columns: number, basis: Float64Array, width: number): Float64Array<ArrayBuffer> {
  const out = new Float64Array(width * rows)
  for (let n = 0; n < rows; n++) {
    for (let i = 0; i < width; i++) {
      let sum = 0
      for (let k = 0, x = n * columns, y = i * columns; k < columns; k++) sum += a[x + k] * basis[y + k]
      out[i * rows + n] = sum
    }
  }
  return out
}

/** `aᵀ · basis`. */
function transposedTimes(a: Float32Array, rows: number, columns: number, basis: Float64Array, width: number): Float64Array<ArrayBuffer> {
  const out = new Float64Array(width * columns)
  for (let n = 0; n < rows; n++) {
    for (let i = 0; i < width; i++) {
      const factor = basis[i * rows + n]
      for (let k = 0, x = n * columns, y = i * columns; k < columns; k++) out[y + k] += a[x + k] * factor
    }
  }
  return out
}

/** Gram and Schmidt, each column twice: once loses digits. A column of nothing stays one. */
function orthonormal(basis: Float64Array<ArrayBuffer>, size: number): Float64Array<ArrayBuffer> {
  for (let i = 0; i * size < basis.length; i++) {
    const before = Math.sqrt(dot(basis, i * size, basis, i * size, size))
    for (let pass = 0; pass < 2; pass++) {
      for (let j = 0; j < i; j++) {
        const share = dot(basis, i * size, basis, j * size, size)
        for (let k = 0; k < size; k++) basis[i * size + k] -= share * basis[j * size + k]
      }
    }
    const length = Math.sqrt(dot(basis, i * size, basis, i * size, size))
    const by = length > 1e-12 * before ? 1 / length : 0
    for (let k = 0; k < size; k++) basis[i * size + k] *= by
  }
  return basis
}

function dot(a: Float64Array, from: number, b: Float64Array, at: number, size: number): number {
  let sum = 0
  for (let k = 0; k < size; k++) sum += a[from + k] * b[at + k]
  return sum
}

const SWEEPS = 30

/** Eigenvalues of a symmetric matrix, and its eigenvectors as columns. */
function jacobi(matrix: Float64Array, n: number): { readonly values: number[]; readonly vectors: Float64Array } {
  const a = Float64Array.from(matrix)
  const v = new Float64Array(n * n)
  for (let i = 0; i < n; i++) v[i * n + i] = 1
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    let off = 0
    let on = 0
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) if (i === j) on += a[i * n + j] ** 2
    else off += a[i * n + j] ** 2
    if (off <= 1e-24 * on) break
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) rotate(a, v, n, p, q)
  }
  return { values: Array.from({ length: n }, (_, i) => a[i * n + i]), vectors: v }
}

function rotate(a: Float64Array, v: Float64Array, n: number, p: number, q: number): void {
  const apq = a[p * n + q]
  if (apq === 0) return
  const theta = (a[q * n + q] - a[p * n + p]) / (2 * apq)
  const t = Math.sign(theta === 0 ? 1 : theta) / (Math.abs(theta) + Math.sqrt(theta * theta + 1))
  const c = 1 / Math.sqrt(t * t + 1)
  const s = t * c
  for (let i = 0; i < n; i++) {
    const [x, y] = [a[i * n + p], a[i * n + q]]
    a[i * n + p] = c * x - s * y
    a[i * n + q] = s * x + c * y
  }
  for (let i = 0; i < n; i++) {
    const [x, y] = [a[p * n + i], a[q * n + i]]
    a[p * n + i] = c * x - s * y
    a[q * n + i] = s * x + c * y
    const [e, f] = [v[i * n + p], v[i * n + q]]
    v[i * n + p] = c * e - s * f
    v[i * n + q] = s * e + c * f
  }
}
