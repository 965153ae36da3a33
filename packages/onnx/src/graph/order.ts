import { LowbitError } from '@lowbit/core'
import type { NodeProto } from '@lowbit/formats'

/**
 * Nodes so that each stands after the producers of what it reads. A list that is in order already comes back as it was.
 * @param reads - every name a node needs, captures of its subgraphs included
 * @throws LOWBIT_FORMAT if nodes need each other in a circle
 */
export function topologicalOrder(
  nodes: readonly NodeProto[],
  producer: (name: string) => NodeProto | undefined,
  reads: (node: NodeProto) => Iterable<string>,
): NodeProto[] {
  const done = new Set<NodeProto>()
  const open = new Set<NodeProto>()
  const order: NodeProto[] = []
  // An explicit stack: a chain of a hundred thousand nodes must not overflow the engine's.
  const stack: { node: NodeProto; rest: Iterator<string> }[] = []
  const enter = (node: NodeProto): void => {
    open.add(node)
    stack.push({ node, rest: reads(node)[Symbol.iterator]() })
  }
  for (const root of nodes) {
    if (done.has(root)) continue
    enter(root)
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const next = top.rest.next()
      if (next.done === true) {
        stack.pop()
        open.delete(top.node)
        done.add(top.node)
        order.push(top.node)
        continue
      }
      const needed = producer(next.value)
      if (needed === undefined || done.has(needed)) continue
      if (open.has(needed)) {
        throw new LowbitError('LOWBIT_FORMAT', {
          thing: `node '${needed.name}' (${needed.opType})`,
          found: `it needs its own output '${next.value}', through '${top.node.name}' (${top.node.opType})`,
          expected: 'a graph without cycles',
          fix: 'export the model again: the file is damaged',
        })
      }
      enter(needed)
    }
  }
  return order
}
