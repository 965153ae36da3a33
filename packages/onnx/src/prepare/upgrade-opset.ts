import { LowbitError, own } from '@lowbit/core'
import type { NodeProto } from '@lowbit/formats'
import type { Graph } from '../graph/index.js'
import { UPGRADE_RULES, UpgradeContext } from './upgrade-rules.js'

/** The newest opset {@link upgradeOpset} writes: the first with blocked DequantizeLinear and 16-bit activations. */
export const NEWEST_OPSET = 21
const OLDEST_OPSET = 7
/** ONNX file format that goes with an opset. */
const IR_VERSION = 10n

/**
 * Rewrites a model for a newer opset, step by step through the versions between.
 * @returns the opset it had
 * @throws LOWBIT_UNSUPPORTED for opsets below 7 and for the few operators whose meaning changed beyond rewriting
 */
export function upgradeOpset(graph: Graph, target: number = NEWEST_OPSET): number {
  const from = graph.opset()
  if (from >= target) return from
  if (from < OLDEST_OPSET) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'model', found: `opset ${from}`, expected: `${OLDEST_OPSET} or newer`, fix: 'export it again at a newer opset' })
  }
  const context = new UpgradeContext(graph)
  for (let version = from + 1; version <= target; version++) {
    const rules = UPGRADE_RULES[version]
    if (rules === undefined) continue
    for (const node of graph.nodes()) {
      upgradeInside(node, version, context)
      const rule = isOnnx(node) ? own(rules, node.opType) : undefined
      if (rule === undefined) continue
      // Taken out while it changes, so that the graph's books stay right.
      graph.removeNode(node)
      graph.addNode(...(rule(node, context) ?? [node]))
    }
  }
  graph.setOpset('', target)
  if (graph.model.irVersion < IR_VERSION) graph.model.irVersion = IR_VERSION
  return from
}

/** Nodes of If, Loop and Scan bodies; their new constants stand in the main graph, where bodies can see them. */
function upgradeInside(node: NodeProto, version: number, context: UpgradeContext): void {
  for (const a of node.attribute) {
    for (const body of a.g === undefined ? a.graphs : [a.g, ...a.graphs]) {
      body.node = body.node.flatMap((inner) => {
        upgradeInside(inner, version, context)
        const rule = isOnnx(inner) ? own(UPGRADE_RULES[version] ?? {}, inner.opType) : undefined
        return rule?.(inner, context) ?? [inner]
      })
    }
  }
}

function isOnnx(node: NodeProto): boolean {
  return node.domain === '' || node.domain === 'ai.onnx'
}
