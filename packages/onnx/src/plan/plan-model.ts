import type { Json, QTensor } from '@lowbit/core'
import type { Graph } from '../graph/index.js'
import { upgradeOpset } from '../prepare/index.js'
import type { SiteRecord } from '../sites/index.js'
import { PlanBuilder } from './builder.js'
import type { DecidedActivation } from './format.js'
import { expectFormat } from './formats.js'
import type { OnnxPlan } from './onnx-plan.js'
import { readSettings, settingsOf } from './settings.js'
import { qdq, planStatic } from './static.js'

/** What was decided about a model: by the owner of a weight, and by tensor. What is missing stays in float. */
export interface Decisions {
  readonly weights: ReadonlyMap<string, QTensor>
  readonly activations: ReadonlyMap<string, DecidedActivation>
}

/**
 * The plan of a model in a format.
 * @param graph - with transforms applied; not changed
 * @throws LOWBIT_UNSUPPORTED for an unknown format, LOWBIT_ARGUMENT for a setting that does not exist
 */
export function planModel(graph: Graph, records: readonly SiteRecord[], decisions: Decisions, name: string, settings: Readonly<Record<string, Json>> = {}): OnnxPlan {
  const format = expectFormat(name)
  const filled = readSettings(name, settings)
  const build = new PlanBuilder(filled.scales === 'float16')
  const { oldest } = format
  const from = graph.opset()
  const upgraded = oldest !== undefined && from < oldest.below
  const at = upgraded ? graph.clone() : graph
  if (upgraded) {
    upgradeOpset(at, oldest.to)
    build.note(`opset ${from} upgraded to ${at.opset()}: ${oldest.reason}`)
  }
  format.plan({ graph: at, records, weights: decisions.weights, activations: decisions.activations, settings: filled }, build)
  return build.build(name, settingsOf(name, filled), at.opset(), records)
}

/** The `qdq` plan of a model some of whose weights stay in float though their products count as ones of integers. */
export function planForMeasuring(graph: Graph, records: readonly SiteRecord[], decisions: Decisions, floatWeights: ReadonlySet<string>): OnnxPlan {
  const build = new PlanBuilder()
  const at = graph.clone()
  upgradeOpset(at, 13)
  const settings = readSettings(qdq.name, {})
  planStatic({ graph: at, records, ...decisions, settings }, build, floatWeights)
  return build.build(qdq.name, settingsOf(qdq.name, settings), at.opset(), records)
}
