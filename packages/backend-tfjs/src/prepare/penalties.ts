import type { Layer, Tensor, TfCore } from '../tf.js'

/**
 * Loss terms of the current forward pass. They are made where the tensors they depend on are at hand, and handed to the loss of
 * `fit` through the layers' own list of losses.
 */
export class Penalties {
  readonly #tf: TfCore
  #terms: Tensor[] = []

  constructor(tf: TfCore) {
    this.#tf = tf
  }

  add(term: Tensor): void {
    this.#terms.push(this.#tf.keep(term))
  }

  sum(): Tensor {
    const total = this.#tf.tidy(() => this.#terms.reduce((a, b) => this.#tf.add(a, b), this.#tf.scalar(0)))
    this.clear()
    return total
  }

  clear(): void {
    for (const term of this.#terms) term.dispose()
    this.#terms = []
  }

  /** Makes `fit` add the terms to its loss. @returns takes that back. */
  addTo(layer: Layer): () => void {
    const losses: unknown = Reflect.get(layer, '_losses')
    if (!Array.isArray(losses)) return () => undefined
    const term = (): Tensor => this.sum()
    losses.push(term)
    return () => {
      if (losses.includes(term)) losses.splice(losses.indexOf(term), 1)
    }
  }
}
