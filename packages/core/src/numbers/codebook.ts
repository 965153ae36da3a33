/**
 * NF4 (QLoRA, Dettmers et al. 2023, appendix E): quantiles of the normal distribution, scaled to [-1, 1]. Code = index.
 */
export const NF4 = new Float32Array([
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0,
  0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
])

/** FP4 of bitsandbytes: bit 3 is the sign, magnitudes {0, 0.0625, 8, 12, 4, 6, 2, 3} / 12, not in order of size. */
export const FP4 = Float32Array.from({ length: 16 }, (_, code) => (code < 8 ? 1 : -1) * (([0, 0.0625, 8, 12, 4, 6, 2, 3][code & 7] ?? 0) / 12))

/**
 * The 8-bit map of QLoRA's double quantization: for i = 0…6 the 2^i midpoints of 2^i equal steps over [0.1, 1], times 10^(i-6),
 * with both signs, and 0 and 1. 256 values in rising order.
 *
 * Bit for bit those that bitsandbytes stores: its ends of steps are torch's float32 `linspace`, from below in the lower half and from above in the upper.
 */
export function dynamicMap(): Float32Array<ArrayBuffer> {
  const f32 = Math.fround
  const [start, end] = [f32(0.1), 1]
  const values = [0, 1]
  for (let i = 0; i < 7; i++) {
    const steps = 2 ** i
    const step = f32(f32(end - start) / steps)
    const edge = (j: number): number => f32(j < (steps + 1) >> 1 ? start + step * j : end - step * (steps - j))
    for (let j = 0; j < steps; j++) {
      const middle = f32(f32(10 ** (i - 6)) * f32((edge(j) + edge(j + 1)) / 2))
      values.push(middle, -middle)
    }
  }
  return Float32Array.from(values.sort((a, b) => a - b))
}

/** A codebook ready for nearest-value search. */
export interface Codebook {
  /** Value by code. */
  readonly values: Float32Array
  /** Codes in rising order of value; equal values once. */
  readonly order: Uint8Array
  /** Midpoints between neighbours in that order. */
  readonly midpoints: Float64Array
}

/** Sorts a codebook for {@link nearestCode}. NaN and infinite entries are never chosen; of equal values the first code is. */
export function codebook(values: Float32Array): Codebook {
  const finite = Array.from(values.keys()).filter((code) => Number.isFinite(values[code]))
  finite.sort((a, b) => (values[a] ?? 0) - (values[b] ?? 0) || a - b)
  const order = finite.filter((code, at) => at === 0 || values[code] !== values[finite[at - 1] ?? 0])
  const midpoints = order.slice(1).map((code, at) => ((values[code] ?? 0) + (values[order[at] ?? 0] ?? 0)) / 2)
  return { values, order: Uint8Array.from(order), midpoints: Float64Array.from(midpoints) }
}

/** Code of the nearest value; a tie goes to the lower value. */
export function nearestCode(book: Codebook, x: number): number {
  const { midpoints } = book
  let low = 0
  let high = midpoints.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (x > (midpoints[middle] ?? Infinity)) low = middle + 1
    else high = middle
  }
  return book.order[low] ?? 0
}
