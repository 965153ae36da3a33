import type { Slices } from '../../slices/slices.js'

/** The reverse Cholesky factor, or the index of the first pivot that is not positive. */
export type Factorisation = { readonly ok: true; readonly factor: Float64Array } | { readonly ok: false; readonly pivot: number }

/** The operations at once: for small matrices, and for code that cannot wait. */
export interface WholeLinAlg {
  readonly name: string
  /** `out += XᵀX`: `x` is `[rows, n]`, `out` `[n, n]`, both triangles written. */
  addGram(x: Float32Array, rows: number, n: number, out: Float64Array): void
  /** `[m, k] × [k, n]`. */
  matmul(a: Float64Array, b: Float64Array, m: number, k: number, n: number): Float64Array
  /**
   * Upper `R` with `H = R Rᵀ` (the reverse Cholesky factor), or the index of the first pivot that is not positive.
   * `U = R⁻¹` is the upper Cholesky factor of `H⁻¹`.
   */
  reverseCholesky(h: Float64Array, n: number): Factorisation
  /** Inverse of an upper triangular matrix. */
  invertUpper(r: Float64Array, n: number): Float64Array
}

/**
 * The same operations in slices of a few milliseconds, with the same bits. Several may be under way together; their operands are
 * not to be changed meanwhile.
 */
export interface SlicedLinAlg {
  addGram(...operands: Parameters<WholeLinAlg['addGram']>): Slices<void>
  matmul(...operands: Parameters<WholeLinAlg['matmul']>): Slices<Float64Array>
  reverseCholesky(...operands: Parameters<WholeLinAlg['reverseCholesky']>): Slices<Factorisation>
  invertUpper(...operands: Parameters<WholeLinAlg['invertUpper']>): Slices<Float64Array>
}

/**
 * Linear algebra that algorithms are handed: core's slow reference, or a faster one from a kernel package.
 * Matrices are row major. Everything is deterministic.
 */
export interface LinAlg extends WholeLinAlg {
  /** For matrices that take longer than the event loop may wait. */
  readonly slices: SlicedLinAlg
}
