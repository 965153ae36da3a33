import { wholly, type Slices } from '@lowbit/core'

/** Elements between two cuts. */
const PIECE = 2 ** 18

/** How far values are from evenly spread. */
export interface Spread {
  /** `m4 / m2²` around the mean: 3 for normal values, more with outliers. */
  readonly kurtosis: number
  /** Largest magnitude over the root of the mean square. */
  readonly peak: number
}

/** Kurtosis and peak of all values; 0 where there is nothing but zeros. */
export function spreadOf(values: ArrayLike<number>): Spread {
  return wholly(spreadSlices(values))
}

/** {@link spreadOf} in slices. */
export function* spreadSlices(values: ArrayLike<number>): Slices<Spread> {
  const n = values.length
  let mean = 0
  for (let i = 0; i < n; i++) {
    mean += values[i] / n
    if (i % PIECE === PIECE - 1) yield
  }
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
    if (i % PIECE === PIECE - 1) yield
  }
  return { kurtosis: m2 === 0 ? 0 : m4 / (m2 * m2), peak: square === 0 ? 0 : top / Math.sqrt(square) }
}
