import { partOf, PLAN_VERSION, type PlannedActivation, type PlannedWeight } from '@lowbit/core'
import type { Graph } from '../graph/index.js'
import type { SiteRecord } from '../sites/index.js'
import { decidedWeights } from './by-weight.js'
import type { OnnxPlan } from './onnx-plan.js'
import type { Decisions } from './plan-model.js'

/** The plan of a model that is not to be written: what was decided, as values, for every reader. It can be simulated only. */
export function neutralPlan(graph: Graph, records: readonly SiteRecord[], { weights, activations }: Decisions): OnnxPlan {
  const planned = decidedWeights({ records, weights }).map(({ owner, sites, q }): PlannedWeight => ({
    name: owner.site.weight.name, sites: sites.map((r) => r.site.id), shape: [owner.matrix.rows, owner.matrix.columns], form: 'values', parts: [partOf(q)], tensors: [],
  }))
  const quantized = new Map(planned.flatMap(({ name, sites }) => sites.map((id) => [id, name] as const)))
  return {
    plan: PLAN_VERSION,
    format: 'none',
    opset: graph.opset(),
    settings: {},
    sites: records.map(({ site }) => {
      const weight = quantized.get(site.id)
      return weight === undefined ? { site: site.id, status: 'float', operator: site.op, input: 'float', reason: 'nothing was decided for it' } : { site: site.id, status: 'quantized', operator: site.op, weight, input: 'float' }
    }),
    weights: planned,
    biases: [],
    activations: [...activations].map(([id, params]): PlannedActivation => ({ id, where: 'written', params, clips: false })),
    notes: [],
  }
}
