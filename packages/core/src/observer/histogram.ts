import type { HistogramStatistic } from '../contract/v2/statistics.js'
import { LowbitError } from '../errors.js'
import type { HostTensor } from '../tensor.js'
import { nonFiniteActivation, nothingSeen, type Observer } from './observer.js'

export interface HistogramObserverOptions {
  /** Bins on each side of zero, even. Default 2048. */
  readonly bins?: number
  /** What is observed, for errors. */
  readonly thing?: string
}

/**
 * A histogram of equal bins over `[-R, R]`, so that zero is an edge. R starts at the largest magnitude of the first batch that is not all
 * zero; when a value does not fit, R doubles and neighbouring bins merge. Memory is `16 · bins` bytes whatever is seen.
 */
export class HistogramObserver implements Observer<HistogramStatistic> {
  readonly bytes: number
  readonly #thing: string
  readonly #bins: number
  readonly #counts: Float64Array
  #reach = 0
  #zeros = 0
  #min = Infinity
  #max = -Infinity
  #count = 0

  /** @throws LOWBIT_ARGUMENT for an odd number of bins */
  constructor(options: HistogramObserverOptions = {}) {
    this.#bins = options.bins ?? 2048
    this.#thing = options.thing ?? 'activations'
    if (!Number.isInteger(this.#bins) || this.#bins < 2 || this.#bins % 2 !== 0) {
      throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'histogram', found: `${this.#bins} bins`, expected: 'an even number of at least 2' })
    }
    this.#counts = new Float64Array(2 * this.#bins)
    this.bytes = this.#counts.byteLength
  }

  observe(batch: HostTensor<'float32'>): void {
    const { data } = batch
    if (data.length === 0) return
    const { low, high } = this.#limits(data)
    this.#widen(low, high, data.length)
    this.#add(data, 1)
  }

  /**
   * Sees part of a batch in place of all of it: every value stands for as many as were left out. The largest and smallest are
   * counted on their own, so that a few outliers are not missed.
   * @param values - a part that is not chosen by value
   * @param whole - limits and number of all values of the batch
   * @throws LOWBIT_NONFINITE, LOWBIT_ARGUMENT for more values than there are
   */
  observeSample(values: Float32Array, whole: { readonly min: number; readonly max: number; readonly count: number }): void {
    const { min, max, count } = whole
    if (values.length > count || (values.length === 0 && count > 0)) {
      throw new LowbitError('LOWBIT_ARGUMENT', { thing: this.#thing, found: `${values.length} values of ${count}`, expected: 'a part of them' })
    }
    if (count === 0) return
    this.#limits(values)
    for (const limit of [min, max]) if (!Number.isFinite(limit)) throw nonFiniteActivation(this.#thing, limit, 0)
    this.#widen(min, max, count)
    const extremes = values.length === count ? 0 : 2
    this.#add(values, (count - extremes) / values.length)
    if (extremes > 0) this.#add(Float32Array.of(min, max), 1)
  }

  /** Smallest and largest value of a batch, none of which may be NaN or infinite. */
  #limits(data: Float32Array): { readonly low: number; readonly high: number } {
    let low = Infinity
    let high = -Infinity
    for (let i = 0; i < data.length; i++) {
      const value = data[i] as number
      if (value - value !== 0) throw nonFiniteActivation(this.#thing, value, i)
      if (value < low) low = value
      if (value > high) high = value
    }
    return { low, high }
  }

  /** Makes room for values up to these limits. */
  #widen(low: number, high: number, count: number): void {
    this.#min = Math.min(this.#min, low)
    this.#max = Math.max(this.#max, high)
    this.#count += count
    const top = Math.max(-low, high)
    if (this.#reach === 0) this.#reach = top
    while (top > this.#reach) this.#double()
  }

  #add(data: Float32Array, weight: number): void {
    const bins = this.#bins
    const counts = this.#counts
    const reach = this.#reach
    if (reach === 0) {
      this.#zeros += data.length * weight
      return
    }
    const last = bins - 1
    for (let i = 0; i < data.length; i++) {
      const value = data[i] as number
      // Dividing first: the quotient cannot overflow, and is 1 at most.
      const bin = Math.min(((value < 0 ? -value : value) / reach) * bins, last) | 0
      const at = value < 0 ? last - bin : bins + bin
      counts[at] = (counts[at] as number) + weight
    }
  }

  result(): HistogramStatistic {
    if (this.#count === 0) throw nothingSeen(this.#thing)
    const counts = this.#counts.slice()
    counts[this.#bins] = (counts[this.#bins] as number) + this.#zeros
    const reach = this.#reach === 0 ? 1 : this.#reach
    return { counts, low: -reach, high: reach, min: this.#min, max: this.#max, count: this.#count }
  }

  #double(): void {
    const { length } = this.#counts
    const half = length / 2
    const merged = new Float64Array(length)
    for (let i = 0; i < half; i++) merged[half / 2 + i] = (this.#counts[2 * i] as number) + (this.#counts[2 * i + 1] as number)
    this.#counts.set(merged)
    this.#reach *= 2
  }
}

/** Counts of |x| in bins of one width from zero on, as far as the largest magnitude. */
export interface MagnitudeHistogram {
  readonly counts: Float64Array
  readonly width: number
}

/**
 * Folds a histogram at zero. Bins that do not have zero as an edge are taken at their centres.
 */
export function foldMagnitudes(histogram: HistogramStatistic): MagnitudeHistogram {
  const { counts, low, high } = histogram
  const width = (high - low) / counts.length
  const top = Math.max(-histogram.min, histogram.max, 0)
  const bins = Math.max(Math.min(Math.floor(top / width) + 1, 2 * counts.length), 1)
  const folded = new Float64Array(bins)
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i] as number
    if (count === 0) continue
    const at = Math.min(Math.floor(Math.abs(low + (i + 0.5) * width) / width), bins - 1)
    folded[at] = (folded[at] as number) + count
  }
  // The largest magnitude may lie on the very edge of its last bin: no bin of its own then.
  return bins > 1 && folded[bins - 1] === 0 ? { counts: folded.subarray(0, bins - 1), width } : { counts: folded, width }
}
