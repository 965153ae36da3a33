import { partsValue } from '@lowbit/core'
import { addFloats, type Graph } from '../graph/index.js'
import type { OnnxPlan } from '../plan/onnx-plan.js'
import { upgradeOpset } from '../prepare/index.js'
import { expectRecord, type SiteRecord, siteNode, writeRows } from '../sites/index.js'
import { ActivationPairs, widenPlanned } from './static.js'

/**
 * The float model that computes what a plan says: weights and biases hold the values that their codes stand for, and activations are
 * rounded where the plan rounds them. All tensors keep their names, so that statistics can be taken of it.
 * @param graph - changed in place
 */
export function simulatePlan(graph: Graph, records: readonly SiteRecord[], plan: Pick<OnnxPlan, 'opset' | 'weights' | 'biases' | 'activations'>): void {
  if (graph.opset() < plan.opset) upgradeOpset(graph, plan.opset)
  const widened = widenPlanned(graph, records, plan)
  for (const weight of plan.weights) writeRows(graph, weight.sites.map((id) => expectRecord(records, id)), partsValue(weight.parts, weight.shape))
  for (const { site, codes, scales } of plan.biases) {
    const node = siteNode(graph, expectRecord(records, site))
    const values = Float32Array.from(codes.data, (code, n) => code * scales.data[scales.shape.length > 0 ? n : 0])
    graph.setInput(node, 2, addFloats(graph, `${node.input[2] ?? 'bias'}_rounded`, values, codes.shape))
  }
  const pairs = new ActivationPairs(graph)
  const readers = new Map(plan.activations.flatMap((a) => (a.where === 'read' ? [[a.id, a.readers.flatMap((output) => graph.producer(output) ?? [])] as const] : [])))
  // The Relu or Clip that codes make superfluous stays: what is between it and its producer can still be observed.
  for (const activation of plan.activations) pairs.write(activation.where === 'written' ? { ...activation, clips: false } : activation, readers.get(activation.id) ?? [])
  widened.restore()
}
