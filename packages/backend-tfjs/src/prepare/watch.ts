import type { WatchedTensor } from '@lowbit/core'
import { noTape } from '../ops/no-tape.js'
import type { Tensor, TfCore } from '../tf.js'

/**
 * Sums of the tensors of the last training step, in the order they were computed: one bad element makes its sum bad. By the time a
 * loss is known the optimizer has spread it over all weights, so that looking at those would blame the wrong layer.
 */
export class Watch {
  readonly #tf: TfCore
  #watchers = 0
  #sums: { readonly layer: string; readonly what: string; readonly sum: Tensor }[] = []

  constructor(tf: TfCore) {
    this.#tf = tf
  }

  /** Sums cost a pass over every tensor: only while someone looks. @returns stops. */
  start(): () => void {
    this.#watchers++
    let on = true
    return () => {
      if (on) this.#watchers--
      on = false
      if (this.#watchers === 0) this.clear()
    }
  }

  clear(): void {
    for (const { sum } of this.#sums) sum.dispose()
    this.#sums = []
  }

  see(layer: string, what: string, x: Tensor): void {
    if (this.#watchers > 0 && x.dtype === 'float32') this.#sums.push({ layer, what: `sum of the ${what}`, sum: this.#tf.keep(noTape(this.#tf, () => this.#tf.sum(x))) })
  }

  /** The same, as tensors of one value each; they live until the next step. */
  sums(): readonly Tensor[] {
    return this.#sums.map(({ sum }) => sum)
  }

  *tensors(): Generator<WatchedTensor> {
    for (const { layer, what, sum } of this.#sums) yield { layer, what, values: sum.dataSync<'float32'>() }
  }
}
