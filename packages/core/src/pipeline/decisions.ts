import type { ActivationParams, ModelHost } from '../contract/v2/host.js'
import type { QTensor } from '../qtensor.js'

/** What was decided in a run, and the way to decide: the host is told, and what it was told can be looked up. */
export class Decisions {
  readonly #host: ModelHost
  readonly #weights = new Map<string, QTensor>()
  readonly #activations = new Map<string, ActivationParams>()

  constructor(host: ModelHost) {
    this.#host = host
  }

  /** By the site that owns the weight. */
  get weights(): ReadonlyMap<string, QTensor> {
    return this.#weights
  }

  get activations(): ReadonlyMap<string, ActivationParams> {
    return this.#activations
  }

  assign(owner: string, q: QTensor | null): void {
    this.#host.assign(owner, q)
    if (q === null) this.#weights.delete(owner)
    else this.#weights.set(owner, q)
  }

  assignActivation(point: string, params: ActivationParams | null): void {
    this.#host.assignActivation(point, params)
    if (params === null) this.#activations.delete(point)
    else this.#activations.set(point, params)
  }
}
