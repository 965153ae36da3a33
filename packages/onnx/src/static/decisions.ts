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
   * How int8 weights are stored. Convolutions behind int8 activations always `int8`: no kernel takes anything else. Else default
   * `uint8`, with zero point 128: on x86 without VNNI the kernels for unsigned activations
   * and signed weights add pairs of products in 16 bits and saturate, those for unsigned weights do not. `int8` is up to a third
   * faster there and exact only with weights of a reduced range.
   */
  readonly weightStorage?: WeightStorage
  /** Sites whose weight stays in float though their product counts as one of integers: for measuring what the weight costs. */
  readonly floatWeights?: ReadonlySet<string>
}

/** What an emitter had to do differently from what it was told. */
export type StaticNotes = string[]
