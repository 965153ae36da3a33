import type { NodeProto } from '@lowbit/formats'
import { type Graph, isOp } from '../graph/index.js'

/** Takes out operators that hand on what they get: Identity, Dropout outside of training, Cast to the same type is left. */
export function dropIdentities(graph: Graph): number {
  let dropped = 0
  for (const node of graph.nodes()) {
    if (!isOp(node, 'Identity') && !isIdleDropout(graph, node)) continue
    const [from = ''] = node.input
    const [to = ''] = node.output
    // A graph output keeps its name, and so its node.
    if (graph.isOutput(to)) continue
    graph.replaceUses(to, from)
    graph.removeNode(node)
    dropped++
  }
  return dropped
}

function isIdleDropout(graph: Graph, node: NodeProto): boolean {
  if (!isOp(node, 'Dropout') || (node.input[2] ?? '') !== '') return false
  const mask = node.output[1] ?? ''
  return mask === '' || (graph.consumers(mask).length === 0 && !graph.isOutput(mask))
}
