import type { HostTensor } from '../tensor.js'
import { sameChannels } from './min-max.js'
import { channelSpan, nothingSeen, type Observer } from './observer.js'

/**
 * One observer a channel along an axis: histograms and what is made of them, by channel. Memory is that of one observer times the
 * number of channels.
 */
export class PerChannelObserver<R> implements Observer<readonly R[]> {
  readonly #axis: number
  readonly #make: (channel: number) => Observer<R>
  readonly #thing: string
  #observers: Observer<R>[] = []

  /** @param make a new observer for a channel */
  constructor(axis: number, make: (channel: number) => Observer<R>, thing = 'activations') {
    this.#axis = axis
    this.#make = make
    this.#thing = thing
  }

  get bytes(): number {
    return this.#observers.reduce((sum, observer) => sum + observer.bytes, 0)
  }

  observe(batch: HostTensor<'float32'>): void {
    if (batch.data.length === 0) return
    const { channels, inner } = channelSpan(batch.shape, this.#axis, this.#thing)
    if (this.#observers.length === 0) this.#observers = Array.from({ length: channels }, (_, channel) => this.#make(channel))
    sameChannels(this.#observers.length, channels, this.#thing)
    const outer = batch.data.length / (channels * inner)
    const slice = new Float32Array(outer * inner)
    this.#observers.forEach((observer, channel) => {
      for (let o = 0; o < outer; o++) {
        const from = (o * channels + channel) * inner
        slice.set(batch.data.subarray(from, from + inner), o * inner)
      }
      observer.observe({ dtype: 'float32', shape: [outer, inner], data: slice })
    })
  }

  result(): readonly R[] {
    if (this.#observers.length === 0) throw nothingSeen(this.#thing)
    return this.#observers.map((observer) => observer.result())
  }
}
