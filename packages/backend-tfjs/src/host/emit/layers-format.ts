import type { Acceptance, Artifact, EmitOptions, Json, Plan, QTensor, Scheme } from '@lowbit/core'
import type { FloatGraph } from '../../onnx/float-graph.js'
import type { TfCore } from '../../tf.js'
import type { FloatModel, Rounding } from '../float-model.js'
import type { SiteState, StaticRule } from '../site-state.js'

/** What formats plan from. */
export interface PlanContext extends FloatModel {
  readonly tf: TfCore
  /** The model as a float ONNX graph, made once. @throws LOWBIT_UNSUPPORTED for layers that have no form there */
  readonly graph: () => FloatGraph
  /** By the point. Activations of fewer than 8 bits are those that training leaves. */
  readonly activations: ReadonlyMap<string, StaticRule>
}

/** A model as a format stores it: the plan, what it computes, and the way to write it. */
export interface PlannedModel {
  readonly plan: Plan
  /** Values of the rounded weights, `[N, K]`, by site. */
  readonly weights: ReadonlyMap<string, Float32Array>
  /** How inputs of products are rounded, by point. */
  readonly activations: ReadonlyMap<string, Rounding>
  write(options: EmitOptions): Artifact
}

/** One output format. */
export interface LayersFormat {
  readonly format: string
  accepts(site: SiteState, scheme: Scheme): Acceptance
  /** @throws LOWBIT_UNSUPPORTED for a layer that has no place in the format, LOWBIT_ARGUMENT for settings that it does not have */
  plan(context: PlanContext, settings: Readonly<Record<string, Json>>): PlannedModel
}

/** The weights that were decided, by site. */
export function decidedWeights(sites: readonly SiteState[]): ReadonlyMap<string, QTensor> {
  return new Map(sites.flatMap(({ at, q }) => (q === undefined ? [] : [[at.id, q.tensor] as const])))
}
