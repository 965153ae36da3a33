import type { Acceptance, ActivationParams, QTensor, Scheme } from '@lowbit/core'
import type { Graph } from '../graph/index.js'
import type { SiteRecord } from '../sites/index.js'
import type { PlanBuilder } from './builder.js'
import type { FilledSettings } from './settings.js'

/** Parameters of an activation; `codes` where fewer codes are used than its type has, as training in 4 bits leaves them. Weight-only formats alone hold such. */
export interface DecidedActivation extends ActivationParams {
  readonly codes?: readonly [number, number]
}

/** What a format plans from. Nothing of it is changed. */
export interface PlanJob {
  /** At the opset of the plan. */
  readonly graph: Graph
  /** Every site of the model, in the order they run. */
  readonly records: readonly SiteRecord[]
  /** Codes by the owner of the weight; what is missing stays in float. */
  readonly weights: ReadonlyMap<string, QTensor>
  /** Tensor → parameters; what is missing stays in float. */
  readonly activations: ReadonlyMap<string, DecidedActivation>
  readonly settings: FilledSettings
}

/** One output format: what it can hold, and how it stores what was decided. */
export interface Format {
  readonly name: string
  /** The opset that a model of an older one is brought to, and why; undefined where any will do. */
  readonly oldest?: { readonly below: number; readonly to: number; readonly reason: string }
  accepts(record: SiteRecord, scheme: Scheme): Acceptance
  plan(job: PlanJob, build: PlanBuilder): void
}
