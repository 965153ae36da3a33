import { node } from '@lowbit/formats'
import { addInts, type Graph } from '../graph/index.js'
import type { SiteRecord } from '../sites/index.js'

/** What names of a quantized weight's tensors start with. */
export const baseName = (record: SiteRecord): string => `${record.site.weight.name}_q`

/** Reshapes to fixed sizes. */
export function reshaped(graph: Graph, record: SiteRecord, input: string, shape: readonly number[]): string {
  return added(graph, record, 'Reshape', [input, addInts(graph, `${baseName(record)}_shape`, shape)])
}

/** The first columns of a matrix. */
export function firstColumns(graph: Graph, record: SiteRecord, input: string, columns: number): string {
  if (graph.opset() < 10) return added(graph, record, 'Slice', [input], { axes: [1], starts: [0], ends: [columns] })
  const ints = (role: string, value: number): string => addInts(graph, `${baseName(record)}_${role}`, [value])
  return added(graph, record, 'Slice', [input, ints('start', 0), ints('end', columns), ints('axis', 1)])
}

/** Adds one operator on the way from codes to a weight, and gives the name of what it makes. */
export function added(graph: Graph, record: SiteRecord, op: string, inputs: readonly string[], attributes: Parameters<typeof node>[3] = {}): string {
  const out = graph.freshName(`${baseName(record)}_${op.toLowerCase()}`)
  graph.addNode(node(op, inputs, [out], attributes, '', graph.freshName(`${record.site.id}/${op}`)))
  return out
}
