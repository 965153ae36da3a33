import { type HistogramStatistic, LowbitError } from '@lowbit/core'

/**
 * A histogram whose range doubles to hold what comes: memory does not depend on the number of values. The range starts at the
 * limits of the first batch, and neighbouring bins merge when it doubles, on the side that overflowed.
 */
export class StreamingHistogram {
  #counts: Float64Array
  #low = 0
  #high = 0
  #min = Infinity
  #max = -Infinity
  #count = 0

  constructor(bins = 2048) {
    if (!Number.isInteger(bins) || bins < 2 || bins % 2 !== 0) {
      throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'histogram', found: `${bins} bins`, expected: 'an even number of at least 2' })
    }
    this.#counts = new Float64Array(bins)
  }

  /**
   * @param thing - what the values are, for errors
   * @throws LOWBIT_NONFINITE for NaN or infinity
   */
  add(values: Float32Array, thing: string): void {
    if (values.length === 0) return
    if (this.#high === this.#low) this.#start(values, thing)
    const counts = this.#counts
    const bins = counts.length
    let min = this.#min
    let max = this.#max
    let low = this.#low
    let inverse = this.#inverse()
    for (let i = 0; i < values.length; i++) {
      const value = values[i] ?? 0
      if (value < min) min = value
      if (value > max) max = value
      let bin = (value - low) * inverse
      if (!(bin >= 0 && bin < bins)) {
        this.#grow(value, thing)
        low = this.#low
        inverse = this.#inverse()
        bin = Math.min((value - low) * inverse, bins - 1)
      }
      counts[bin | 0] = (counts[bin | 0] ?? 0) + 1
    }
    this.#min = min
    this.#max = max
    this.#count += values.length
  }

  result(): HistogramStatistic {
    return { counts: this.#counts, low: this.#low, high: this.#high, min: this.#min, max: this.#max, count: this.#count }
  }

  #start(values: Float32Array, thing: string): void {
    let low = Infinity
    let high = -Infinity
    for (const value of values) {
      if (!Number.isFinite(value)) throw nonFinite(thing, value)
      if (value < low) low = value
      if (value > high) high = value
    }
    // All one value so far: a range around it, whose width is only a start.
    const width = high > low ? high - low : Math.max(Math.abs(low), 2 ** -100) * 2 ** -10
    this.#low = low
    this.#high = low + width
  }

  #inverse(): number {
    return this.#counts.length / (this.#high - this.#low)
  }

  #grow(value: number, thing: string): void {
    if (!Number.isFinite(value)) throw nonFinite(thing, value)
    while (value < this.#low) {
      this.#low -= this.#high - this.#low
      this.#merge(this.#counts.length / 2)
    }
    while (value > this.#high) {
      this.#high += this.#high - this.#low
      this.#merge(0)
    }
  }

  /** Pairs of bins into one, from `offset` on; the other half of the range is new. */
  #merge(offset: number): void {
    const old = this.#counts
    const merged = new Float64Array(old.length)
    for (let i = 0; i < old.length / 2; i++) merged[offset + i] = (old[2 * i] ?? 0) + (old[2 * i + 1] ?? 0)
    old.set(merged)
  }
}

/** The error for NaN or infinity in an activation. */
export function nonFinite(thing: string, value: number): LowbitError {
  return new LowbitError('LOWBIT_NONFINITE', { thing, found: Number.isNaN(value) ? 'NaN' : 'infinity', expected: 'finite activations', fix: 'look at that sample, or leave the sites that read this tensor in float' })
}
