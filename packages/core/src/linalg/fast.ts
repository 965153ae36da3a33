import type { Factorisation } from '../contract/v2/linalg.js'
import type { Slices } from '../slices/slices.js'
import { pivotFloor } from './pivot.js'
import { addProductOfRows } from './product-kernel.js'
import { fromSlices } from './resumable.js'
import { clearLower, copied, mirrorUpper } from './triangles.js'

/** Side of a block: three 64 × 64 float64 blocks fit a second-level cache. */
const BLOCK = 64
/** Length of the summed axis taken at once: panels of 64 rows stay in cache. */
const DEPTH = 256

/**
 * Linear algebra in blocked loops over typed arrays: one thread, no WebAssembly, float64 sums.
 * Same results as {@link referenceLinAlg} but for the order of summation; the same bytes on every run.
 */
export const fastLinAlg = fromSlices('@lowbit/core/fast', { addGram, matmul, reverseCholesky, invertUpper })

function* addGram(x: Float32Array, rows: number, n: number, out: Float64Array): Slices<void> {
  const columns = new Float64Array(n * Math.min(rows, DEPTH))
  for (let r0 = 0; r0 < rows; r0 += DEPTH) {
    const depth = Math.min(DEPTH, rows - r0)
    for (let r = 0; r < depth; r++) {
      const from = (r0 + r) * n
      for (let j = 0; j < n; j++) columns[j * depth + r] = x[from + j]
    }
    yield
    for (let i = 0; i < n; i += BLOCK) {
      const a = { data: columns, offset: i * depth, stride: depth }
      const m = Math.min(BLOCK, n - i)
      for (let j = i; j < n; j += BLOCK) {
        const b = { data: columns, offset: j * depth, stride: depth }
        addProductOfRows({ data: out, offset: i * n + j, stride: n }, a, b, m, Math.min(BLOCK, n - j), depth, 1, i === j)
        yield
      }
    }
  }
  yield* mirrorUpper(out, n)
}

function* matmul(a: Float64Array, b: Float64Array, m: number, k: number, n: number): Slices<Float64Array> {
  const out = new Float64Array(m * n)
  const panel = new Float64Array(BLOCK * DEPTH)
  for (let k0 = 0; k0 < k; k0 += DEPTH) {
    const depth = Math.min(DEPTH, k - k0)
    for (let j = 0; j < n; j += BLOCK) {
      const width = Math.min(BLOCK, n - j)
      transposeInto(panel, b, k0 * n + j, n, depth, width)
      for (let i = 0; i < m; i += BLOCK) {
        addProductOfRows({ data: out, offset: i * n + j, stride: n }, { data: a, offset: i * k + k0, stride: k }, { data: panel, offset: 0, stride: depth }, Math.min(BLOCK, m - i), width, depth, 1)
        yield
      }
    }
  }
  return out
}

/** Left-looking: a block of columns takes what the finished columns to its right add up to, then is factorised alone. */
function* reverseCholesky(h: Float64Array, n: number): Slices<Factorisation> {
  const r = yield* copied(h)
  for (let j1 = n; j1 > 0; j1 -= BLOCK) {
    const j0 = Math.max(0, j1 - BLOCK)
    for (let k0 = j1; k0 < n; k0 += DEPTH) {
      const depth = Math.min(DEPTH, n - k0)
      const b = { data: r, offset: j0 * n + k0, stride: n }
      for (let i = 0; i < j1; i += BLOCK) {
        addProductOfRows({ data: r, offset: i * n + j0, stride: n }, { data: r, offset: i * n + k0, stride: n }, b, Math.min(BLOCK, j1 - i), j1 - j0, depth, -1)
        yield
      }
    }
    for (let j = j1 - 1; j >= j0; j--) {
      const pivot = r[j * n + j] - sumOfProducts(r, j * n + j + 1, j * n + j + 1, j1 - j - 1)
      if (!(pivot > pivotFloor(h[j * n + j], n))) return { ok: false, pivot: j }
      const diagonal = Math.sqrt(pivot)
      r[j * n + j] = diagonal
      for (let i = 0; i < j; i++) {
        r[i * n + j] = (r[i * n + j] - sumOfProducts(r, i * n + j + 1, j * n + j + 1, j1 - j - 1)) / diagonal
      }
      yield
    }
  }
  yield* clearLower(r, n)
  return { ok: true, factor: r }
}

/** Blocks of rows from the last: what the finished rows below contribute is one product, the rest a small triangle. */
function* invertUpper(r: Float64Array, n: number): Slices<Float64Array> {
  const u = new Float64Array(n * n)
  const panel = new Float64Array(BLOCK * DEPTH)
  for (let i1 = n; i1 > 0; i1 -= BLOCK) {
    const i0 = Math.max(0, i1 - BLOCK)
    for (let k0 = i1; k0 < n; k0 += DEPTH) {
      const depth = Math.min(DEPTH, n - k0)
      for (let j = k0; j < n; j += BLOCK) {
        const width = Math.min(BLOCK, n - j)
        transposeInto(panel, u, k0 * n + j, n, depth, width)
        addProductOfRows({ data: u, offset: i0 * n + j, stride: n }, { data: r, offset: i0 * n + k0, stride: n }, { data: panel, offset: 0, stride: depth }, i1 - i0, width, depth, -1)
        yield
      }
    }
    for (let i = i1 - 1; i >= i0; i--) {
      for (let k = i + 1; k < i1; k++) {
        const factor = r[i * n + k]
        if (factor !== 0) for (let j = k; j < n; j++) u[i * n + j] -= factor * u[k * n + j]
      }
      u[i * n + i] = 1
      const diagonal = r[i * n + i]
      for (let j = i; j < n; j++) u[i * n + j] /= diagonal
      yield
    }
  }
  return u
}

/** `panel[c, p] = source[p, c]` for a `[depth, width]` window: columns become rows that the product kernel can read. */
function transposeInto(panel: Float64Array, source: Float64Array, offset: number, stride: number, depth: number, width: number): void {
  for (let p = 0; p < depth; p++) {
    const from = offset + p * stride
    for (let c = 0; c < width; c++) panel[c * depth + p] = source[from + c]
  }
}

function sumOfProducts(data: Float64Array, p: number, q: number, length: number): number {
  let sum = 0
  for (let i = 0; i < length; i++) sum += data[p + i] * data[q + i]
  return sum
}
