import type { RangeStatistic } from '../contract/v2/statistics.js'
import { LowbitError } from '../errors.js'
import type { HostTensor } from '../tensor.js'
import { channelSpan, nonFiniteActivation, nothingSeen, type Observer } from './observer.js'

export interface RangeObserverOptions {
  /** One range a channel along this axis; absent: one for the tensor. */
  readonly axis?: number
  /** What is observed, for errors. */
  readonly thing?: string
}

/** Smallest and largest value of one batch, per tensor or channel. */
export function batchRange(batch: HostTensor<'float32'>, options: RangeObserverOptions): { readonly min: Float64Array; readonly max: Float64Array } {
  const thing = options.thing ?? 'activations'
  const { channels, inner } = options.axis === undefined ? { channels: 1, inner: Math.max(batch.data.length, 1) } : channelSpan(batch.shape, options.axis, thing)
  const min = new Float64Array(channels).fill(Infinity)
  const max = new Float64Array(channels).fill(-Infinity)
  const { data } = batch
  for (let from = 0, channel = 0; from < data.length; from += inner, channel = channel + 1 === channels ? 0 : channel + 1) {
    let low = min[channel] as number
    let high = max[channel] as number
    for (let i = from; i < from + inner; i++) {
      const value = data[i] as number
      if (value - value !== 0) throw nonFiniteActivation(thing, value, i)
      if (value < low) low = value
      if (value > high) high = value
    }
    min[channel] = low
    max[channel] = high
  }
  return { min, max }
}

/** Smallest and largest value over all batches, per tensor or channel. */
export class MinMaxObserver implements Observer<RangeStatistic> {
  readonly #options: RangeObserverOptions
  #min: Float64Array = new Float64Array(0)
  #max: Float64Array = new Float64Array(0)
  #count = 0

  constructor(options: RangeObserverOptions = {}) {
    this.#options = options
  }

  get bytes(): number {
    return this.#min.byteLength + this.#max.byteLength
  }

  observe(batch: HostTensor<'float32'>): void {
    if (batch.data.length === 0) return
    const { min, max } = batchRange(batch, this.#options)
    if (this.#count === 0) {
      this.#min = min
      this.#max = max
    } else {
      sameChannels(this.#min.length, min.length, this.#options.thing)
      for (let c = 0; c < min.length; c++) {
        this.#min[c] = Math.min(this.#min[c] as number, min[c] as number)
        this.#max[c] = Math.max(this.#max[c] as number, max[c] as number)
      }
    }
    this.#count += batch.data.length
  }

  result(): RangeStatistic {
    if (this.#count === 0) throw nothingSeen(this.#options.thing ?? 'range')
    return { min: Float32Array.from(this.#min), max: Float32Array.from(this.#max), count: this.#count }
  }
}

/** @throws LOWBIT_SHAPE if batches differ in their number of channels */
export function sameChannels(before: number, now: number, thing = 'activations'): void {
  if (before !== now) throw new LowbitError('LOWBIT_SHAPE', { thing, found: `${now} channels in this batch`, expected: `${before}, as before` })
}
