import { LowbitError, wholly, type Slices } from '@lowbit/core'
import type { Graph } from '../graph/index.js'
import type { OnnxPlan } from '../plan/onnx-plan.js'
import { readSettings } from '../plan/settings.js'
import { upgradeOpset } from '../prepare/index.js'
import { expectRecord, pointWeightAt, type SiteRecord } from '../sites/index.js'
import { writeBlocks } from './blocks.js'
import { writeDequantized } from './dequantize-weight.js'
import { DynamicActivations, writeIntegers } from './integers.js'
import { writeLookup } from './lookup.js'
import { writeNBits } from './nbits.js'
import { fuseIntegerOperators } from './qoperator.js'
import { widenPlanned, writeStaticActivations, writeStaticWeight } from './static.js'

/**
 * Writes a plan into a graph, and decides nothing.
 * @param graph - the one that was planned for, or a clone; changed in place
 * @param records - of that graph; what stands behind an operator moves its anchor
 */
export function writePlan(graph: Graph, records: readonly SiteRecord[], plan: OnnxPlan): void {
  wholly(writePlanSlices(graph, records, plan))
}

/** {@link writePlan} in slices, a weight each. */
export function* writePlanSlices(graph: Graph, records: readonly SiteRecord[], plan: OnnxPlan): Slices<void> {
  if (graph.opset() < plan.opset) upgradeOpset(graph, plan.opset)
  const isStatic = plan.format === 'qdq' || plan.format === 'qoperator'
  const widened = isStatic ? widenPlanned(graph, records, plan) : undefined
  // Before products become operators that name their inputs otherwise.
  if (!isStatic) writeStaticActivations(graph, records, plan)
  const dynamic = new DynamicActivations(graph)
  for (const weight of plan.weights) {
    yield
    const sites = weight.sites.map((id) => expectRecord(records, id))
    const [owner] = sites
    if (owner === undefined) continue
    switch (weight.form) {
      case 'nbits': writeNBits(graph, weight, sites, readSettings(plan.format, plan.settings).accuracyLevel); break
      case 'blocks': writeBlocks(graph, weight, sites); break
      case 'lookup': writeLookup(graph, weight, sites); break
      case 'integers': writeIntegers(graph, weight, sites, dynamic); break
      case 'static': writeStaticWeight(graph, weight, sites); break
      case 'in-place': case 'blocked': case 'regrouped': case 'expanded':
        pointWeightAt(graph, sites, writeDequantized(graph, weight, owner))
        break
      default: throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `form '${weight.form}' of weight '${weight.name}'`, found: 'unknown to ONNX' })
    }
  }
  if (!isStatic) return
  writeStaticActivations(graph, records, plan)
  widened?.restore()
  graph.removeDead()
  if (plan.format === 'qoperator') fuseIntegerOperators(graph)
}
