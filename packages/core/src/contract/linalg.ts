/**
 * Linear algebra that algorithms are handed: core's slow reference, or a faster one from a kernel package.
 * Matrices are row major. Everything is deterministic.
 */
export interface LinAlg {
  readonly name: string
  /** `out += XᵀX`: `x` is `[rows, n]`, `out` `[n, n]`, both triangles written. */
  addGram(x: Float32Array, rows: number, n: number, out: Float64Array): void
  /** `[m, k] × [k, n]`. */
  matmul(a: Float64Array, b: Float64Array, m: number, k: number, n: number): Float64Array
  /**
   * Upper `R` with `H = R Rᵀ` (the reverse Cholesky factor), or the index of the first pivot that is not positive.
   * `U = R⁻¹` is the upper Cholesky factor of `H⁻¹`.
   */
  reverseCholesky(h: Float64Array, n: number): { readonly ok: true; readonly factor: Float64Array } | { readonly ok: false; readonly pivot: number }
  /** Inverse of an upper triangular matrix. */
  invertUpper(r: Float64Array, n: number): Float64Array
}
