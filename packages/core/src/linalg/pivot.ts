/**
 * A pivot at or below this is rounding noise of a singular matrix: what is left of a diagonal entry after `n` float64
 * subtractions of numbers of its own size. Without the floor a singular matrix factorises now and then, with a factor of noise.
 */
export function pivotFloor(diagonal: number, n: number): number {
  return Math.abs(diagonal) * n * Number.EPSILON
}
