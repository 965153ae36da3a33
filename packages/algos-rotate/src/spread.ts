/** How far values are from evenly spread. */
export interface Spread {
  /** `m4 / m2²` around the mean: 3 for normal values, more with outliers. */
  readonly kurtosis: number
  /** Largest magnitude over the root of the mean square. */
  readonly peak: number
}

/** Kurtosis and peak of all values; 0 where there is nothing but zeros. */
export function spreadOf(values: ArrayLike<number>): Spread {
  const n = values.length
  let mean = 0
  for (let i = 0; i < n; i++) mean += values[i] / n
  let square = 0
  let m2 = 0
  let m4 = 0
  let top = 0
  for (let i = 0; i < n; i++) {
    const d = (values[i] - mean) ** 2
    square += values[i] ** 2 / n
    m2 += d / n
    m4 += (d * d) / n
    top = Math.max(top, Math.abs(values[i]))
  }
  return { kurtosis: m2 === 0 ? 0 : m4 / (m2 * m2), peak: square === 0 ? 0 : top / Math.sqrt(square) }
}
