import type { ActivationParams, QTensor } from '@lowbit/core'
import type { SiteRecord } from '../sites/site-record.js'
import type { WeightStorage } from './weight-codes.js'

/** What a static emitter is told: by site, and by tensor name. */
export interface StaticDecisions {
  readonly sites: readonly SiteRecord[]
  /** Site id → int8 weight. A site that is missing stays in float. */
  readonly weights: ReadonlyMap<string, QTensor>
  /** Tensor → parameters. A point that is missing stays in float. */
  readonly activations: ReadonlyMap<string, ActivationParams>
}

export interface StaticOptions {
  /**
   * How int8 weights are stored. Default `uint8`, with zero point 128: on x86 without VNNI the kernels for unsigned activations
   * and signed weights add pairs of products in 16 bits and saturate, those for unsigned weights do not. `int8` is up to a third
   * faster there and exact only with weights of a reduced range.
   */
  readonly weightStorage?: WeightStorage
  /**
   * Tensor → name of a bool input that turns its rounding on. Nothing fuses then, and Relu and Clip stay: for measuring what
   * each point costs, with one session for all questions.
   */
  readonly switches?: ReadonlyMap<string, string>
  /** Site → name of a bool input that turns the rounding of its weight on. As {@link switches}. */
  readonly weightSwitches?: ReadonlyMap<string, string>
}

/** What an emitter had to do differently from what it was told. */
export type StaticNotes = string[]
