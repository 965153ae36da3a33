import type { RangeStatistic } from '../contract/v2/statistics.js'
import type { HostTensor } from '../tensor.js'
import { batchRange, sameChannels, type RangeObserverOptions } from './min-max.js'
import { nothingSeen, type Observer } from './observer.js'

export interface MovingAverageOptions extends RangeObserverOptions {
  /**
   * Share of the new batch: `r += constant · (new - r)`, the first batch starts r (ONNX Runtime, fed a batch at a time).
   * `mean`: the plain mean over batches (ONNX Runtime, fed all at once). Default 0.01.
   */
  readonly constant?: number | 'mean'
}

/** The smallest and largest value of each batch, averaged over batches: single outliers count little. */
export class MovingAverageObserver implements Observer<RangeStatistic> {
  readonly #options: MovingAverageOptions
  #min: Float64Array = new Float64Array(0)
  #max: Float64Array = new Float64Array(0)
  #batches = 0
  #count = 0

  constructor(options: MovingAverageOptions = {}) {
    this.#options = options
  }

  get bytes(): number {
    return this.#min.byteLength + this.#max.byteLength
  }

  observe(batch: HostTensor<'float32'>): void {
    if (batch.data.length === 0) return
    const { min, max } = batchRange(batch, this.#options)
    if (this.#batches === 0) {
      this.#min = min
      this.#max = max
    } else {
      sameChannels(this.#min.length, min.length, this.#options.thing)
      const { constant = 0.01 } = this.#options
      const share = constant === 'mean' ? 1 / (this.#batches + 1) : constant
      for (let c = 0; c < min.length; c++) {
        this.#min[c] = (this.#min[c] as number) + share * ((min[c] as number) - (this.#min[c] as number))
        this.#max[c] = (this.#max[c] as number) + share * ((max[c] as number) - (this.#max[c] as number))
      }
    }
    this.#batches++
    this.#count += batch.data.length
  }

  result(): RangeStatistic {
    if (this.#batches === 0) throw nothingSeen(this.#options.thing ?? 'moving average')
    return { min: Float32Array.from(this.#min), max: Float32Array.from(this.#max), count: this.#count }
  }
}
