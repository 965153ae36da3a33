import type { Slices } from '../slices/slices.js'

/** Elements that are moved between two cuts. */
const PIECE = 2 ** 18

/** A copy, made piece by piece: fresh memory is touched no sooner than it is filled. */
export function* copied(source: Float64Array): Slices<Float64Array> {
  const copy = new Float64Array(source.length)
  for (let at = 0; at < source.length; at += PIECE) {
    copy.set(source.subarray(at, at + PIECE), at)
    yield
  }
  return copy
}

/** Zeros below the diagonal of a `[n, n]` matrix, in place. */
export function* clearLower(matrix: Float64Array, n: number): Slices<void> {
  const rows = Math.max(1, Math.floor(PIECE / Math.max(1, n)))
  for (let i = 1; i < n; i++) {
    matrix.fill(0, i * n, i * n + i)
    if (i % rows === 0) yield
  }
}

/** The upper triangle of a `[n, n]` matrix written over the lower one, in place: in squares, so that both sides stay in cache. */
export function* mirrorUpper(matrix: Float64Array, n: number): Slices<void> {
  const side = 32
  for (let i0 = 0; i0 < n; i0 += side) {
    const i1 = Math.min(n, i0 + side)
    for (let j0 = 0; j0 <= i0; j0 += side) {
      for (let i = i0; i < i1; i++) {
        const end = Math.min(i, j0 + side)
        for (let j = j0; j < end; j++) matrix[i * n + j] = matrix[j * n + i]
      }
    }
    yield
  }
}
