import { hostToFloat32, type NodeProto, tensorToHost } from '@lowbit/formats'
import { type Graph, isOp } from '../graph/index.js'

/** What a Relu or Clip lets through; undefined for other operators and for limits that are not constant. */
export function activationLimits(graph: Graph, node: NodeProto): { readonly low: number; readonly high: number } | undefined {
  if (isOp(node, 'Relu')) return { low: 0, high: Infinity }
  if (!isOp(node, 'Clip')) return undefined
  const limit = (index: number, fallback: number): number | undefined => {
    const name = node.input[index] ?? ''
    if (name === '') return fallback
    const constant = graph.constant(name)
    return constant === undefined ? undefined : hostToFloat32(tensorToHost(constant))[0] ?? fallback
  }
  const low = limit(1, -Infinity)
  const high = limit(2, Infinity)
  return low === undefined || high === undefined ? undefined : { low, high }
}
