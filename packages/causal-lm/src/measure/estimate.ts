/** A figure from samples, and its standard error. */
export interface Estimate {
  readonly value: number
  readonly error: number
}

/** Mean of values, `error = s / √n`. */
export function meanOf(values: Float64Array): Estimate {
  const n = values.length
  let sum = 0
  for (let i = 0; i < n; i++) sum += values[i]
  const value = sum / n
  let squares = 0
  for (let i = 0; i < n; i++) squares += (values[i] - value) ** 2
  return { value, error: n > 1 ? Math.sqrt(squares / (n - 1) / n) : Infinity }
}

/** Root of the mean square; its error from that of the mean square. */
export function rootMeanSquare(values: Float64Array): Estimate {
  const { value, error } = meanOf(values.map((v) => v * v))
  const root = Math.sqrt(value)
  return { value: root, error: root === 0 ? 0 : error / (2 * root) }
}

/** A share of yes in n answers: binomial. */
export function shareOf(yes: number, n: number): Estimate {
  const value = yes / n
  return { value, error: n > 1 ? Math.sqrt((value * (1 - value)) / (n - 1)) : Infinity }
}

/**
 * A quantile of sorted values, between neighbours by distance. Its error is half of what lies between the ranks one standard
 * deviation of the binomial count below and above, which needs no assumption on the distribution.
 */
export function quantileOf(sorted: Float64Array, q: number): Estimate {
  const n = sorted.length
  const at = (rank: number): number => {
    const place = Math.min(n - 1, Math.max(0, rank))
    const low = Math.floor(place)
    const high = Math.min(n - 1, low + 1)
    return sorted[low] + (place - low) * (sorted[high] - sorted[low])
  }
  const rank = q * (n - 1)
  const spread = Math.sqrt(n * q * (1 - q))
  return { value: at(rank), error: (at(rank + spread) - at(rank - spread)) / 2 }
}
