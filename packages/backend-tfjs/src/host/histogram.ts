import type { HistogramStatistic } from '@lowbit/core'

/** A histogram of fixed size whose range doubles until it holds every value. */
export class Histogram {
  #counts: Float64Array
  #low = 0
  #width = 0
  #min = Infinity
  #max = -Infinity
  #count = 0

  constructor(bins: number) {
    // Doubling merges pairs of bins.
    this.#counts = new Float64Array(bins + (bins % 2))
  }

  add(values: Float32Array): void {
    let low = Infinity
    let high = -Infinity
    for (const v of values) {
      if (v < low) low = v
      if (v > high) high = v
    }
    if (!(low <= high)) return
    this.#min = Math.min(this.#min, low)
    this.#max = Math.max(this.#max, high)
    this.#count += values.length
    const bins = this.#counts.length
    if (this.#width === 0) {
      this.#low = low
      this.#width = high > low ? ((high - low) / bins) * (1 + 1e-6) : Math.max(Math.abs(low), 1e-6) / bins
    }
    while (low < this.#low) this.#double(true)
    while (high >= this.#low + this.#width * bins) this.#double(false)
    for (const v of values) this.#counts[Math.min(bins - 1, Math.max(0, Math.floor((v - this.#low) / this.#width)))]++
  }

  value(): HistogramStatistic {
    return { counts: this.#counts.slice(), low: this.#low, high: this.#low + this.#width * this.#counts.length, min: this.#min, max: this.#max, count: this.#count }
  }

  #double(downwards: boolean): void {
    const bins = this.#counts.length
    const merged = new Float64Array(bins)
    const start = downwards ? bins / 2 : 0
    for (let i = 0; i < bins / 2; i++) merged[start + i] = this.#counts[2 * i] + this.#counts[2 * i + 1]
    if (downwards) this.#low -= this.#width * bins
    this.#width *= 2
    this.#counts = merged
  }
}
