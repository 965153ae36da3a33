/** Added to the diagonal, as a share of it: groups whose codes are all 0 have no equation. */
const RIDGE = 1e-10

/**
 * Solves `A x = b` for a symmetric matrix that is positive definite or nearly so, by Cholesky factorisation.
 * @returns undefined where it is not
 */
export function solvePositive(matrix: Float64Array, right: Float64Array): Float64Array | undefined {
  const n = right.length
  const factor = Float64Array.from(matrix)
  const x = Float64Array.from(right)
  for (let j = 0; j < n; j++) {
    let pivot = matrix[j * n + j] * (1 + RIDGE)
    // Nothing asks for this unknown, and it is in no other equation.
    if (pivot === 0) pivot = 1
    for (let k = 0; k < j; k++) pivot -= factor[j * n + k] ** 2
    if (!(pivot > 0)) return undefined
    const diagonal = Math.sqrt(pivot)
    factor[j * n + j] = diagonal
    for (let i = j + 1; i < n; i++) {
      let sum = factor[i * n + j]
      for (let k = 0; k < j; k++) sum -= factor[i * n + k] * factor[j * n + k]
      factor[i * n + j] = sum / diagonal
    }
  }
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) x[i] -= factor[i * n + k] * x[k]
    x[i] /= factor[i * n + i]
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) x[i] -= factor[k * n + i] * x[k]
    x[i] /= factor[i * n + i]
  }
  return x
}
