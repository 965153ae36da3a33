import { clearLower, copied, fromSlices, mirrorUpper, pivotFloor, type LinAlg, type Slices } from '@lowbit/core'
import { PanelProducts, type Operand } from './panels.js'

/** Columns that are factorised one by one; wider blocks are split in two with a product in between. */
const NARROW = 16
/** Rows of a Gram matrix's input that are widened to float64 at once. */
const DEPTH = 256

/**
 * Linear algebra for GPTQ and its kin in WebAssembly SIMD: several times as fast as `fastLinAlg` of core, and the same bits on
 * every engine (products and sums are rounded one by one, in a fixed order). Sums come in another order than in `fastLinAlg`,
 * so that last bits differ from it. Takes 2 MiB of memory, whatever the size of the matrices.
 * @throws LOWBIT_UNSUPPORTED without WebAssembly SIMD, or without room for its memory
 */
export function wasmLinAlg(): LinAlg {
  const products = new PanelProducts()
  return fromSlices('@lowbit/kernels-wasm/linalg', {
    *addGram(x, rows, n, out) {
      for (let from = 0; from < rows; from += DEPTH) {
        const deep = Math.min(DEPTH, rows - from)
        const columns: Operand = { data: Float64Array.from(x.subarray(from * n, (from + deep) * n)), offset: 0, row: 1, column: n }
        yield* products.add(matrix(out, 0, n), columns, columns, n, n, deep, 1, true)
      }
      yield* mirrorUpper(out, n)
    },

    *matmul(a, b, m, k, n) {
      const out = new Float64Array(m * n)
      yield* products.add(matrix(out, 0, n), matrix(a, 0, k), { data: b, offset: 0, row: 1, column: n }, m, n, k, 1)
      return out
    },

    *reverseCholesky(h, n) {
      const r = yield* copied(h)
      const pivot = yield* factorise(products, r, h, n, 0, n)
      if (pivot >= 0) return { ok: false, pivot }
      yield* clearLower(r, n)
      return { ok: true, factor: r }
    },

    *invertUpper(r, n) {
      const u = new Float64Array(n * n)
      yield* invert(products, r, u, n, 0, n)
      return u
    },
  })
}

function matrix(data: Float64Array, offset: number, row: number): Operand {
  return { data, offset, row, column: 1 }
}

/**
 * Columns `[from, to)` of the reverse Cholesky factor, in the rows above `to`; what the columns behind `to` contribute is taken
 * off already. The later half comes first, then its share of the earlier one goes off as one product.
 * @returns the first pivot that is not positive, or −1
 */
function* factorise(products: PanelProducts, r: Float64Array, h: Float64Array, n: number, from: number, to: number): Slices<number> {
  if (to - from > NARROW) {
    const middle = from + Math.ceil((to - from) / (2 * NARROW)) * NARROW
    const pivot = yield* factorise(products, r, h, n, middle, to)
    if (pivot >= 0) return pivot
    const later = matrix(r, middle, n)
    // Only rows above `middle` of columns from `from` on: of the square among them the upper half.
    yield* products.add(matrix(r, from, n), later, matrix(r, from * n + middle, n), from, middle - from, to - middle, -1)
    yield* products.add(matrix(r, from * n + from, n), matrix(r, from * n + middle, n), matrix(r, from * n + middle, n), middle - from, middle - from, to - middle, -1, true)
    return yield* factorise(products, r, h, n, from, middle)
  }
  for (let j = to - 1; j >= from; j--) {
    const row = j * n
    let pivot = r[row + j]
    for (let k = j + 1; k < to; k++) pivot -= r[row + k] * r[row + k]
    if (!(pivot > pivotFloor(h[row + j], n))) return j
    const diagonal = Math.sqrt(pivot)
    r[row + j] = diagonal
    for (let i = 0; i < j; i++) {
      const at = i * n
      let sum = r[at + j]
      for (let k = j + 1; k < to; k++) sum -= r[at + k] * r[row + k]
      r[at + j] = sum / diagonal
    }
    yield
  }
  return -1
}

/** The inverse's square on the diagonal from `from` to `to`: both halves, then `−U₁₁ R₁₂ U₂₂` between them. */
function* invert(products: PanelProducts, r: Float64Array, u: Float64Array, n: number, from: number, to: number): Slices<void> {
  if (to - from <= NARROW) {
    for (let i = to - 1; i >= from; i--) {
      for (let j = i; j < to; j++) {
        let sum = i === j ? 1 : 0
        for (let k = i + 1; k <= j; k++) sum -= r[i * n + k] * u[k * n + j]
        u[i * n + j] = sum / r[i * n + i]
      }
    }
    return
  }
  const middle = from + Math.ceil((to - from) / (2 * NARROW)) * NARROW
  yield* invert(products, r, u, n, from, middle)
  yield* invert(products, r, u, n, middle, to)
  const [upper, lower] = [middle - from, to - middle]
  const between = new Float64Array(upper * lower)
  yield* products.add(matrix(between, 0, lower), matrix(u, from * n + from, n), { data: r, offset: from * n + middle, row: 1, column: n }, upper, lower, upper, 1)
  yield* products.add(matrix(u, from * n + middle, n), matrix(between, 0, lower), { data: u, offset: middle * n + middle, row: 1, column: n }, upper, lower, lower, -1)
}
