import { copyMessage, copyNode, type Graph } from '@lowbit/onnx'

/**
 * Puts a second model beside the first, over the same inputs, so that one run computes both: what a cross-Gram matrix needs.
 * @param graph - changed in place
 * @returns the name that a tensor of the second model has in the merged graph
 */
export function mergeGraph(graph: Graph, other: Graph, prefix = 'original/'): (name: string) => string {
  const inputs = new Set(other.proto.input.map((i) => i.name).filter((name) => other.initializer(name) === undefined))
  const renamed = new Map<string, string>()
  const rename = (name: string): string => {
    if (name === '' || inputs.has(name)) return name
    const before = renamed.get(name)
    if (before !== undefined) return before
    const fresh = graph.freshName(`${prefix}${name}`)
    renamed.set(name, fresh)
    return fresh
  }
  for (const tensor of other.initializers()) {
    const name = rename(tensor.name)
    const same = graph.initializer(tensor.name)
    if (same === tensor) renamed.set(tensor.name, tensor.name)
    else {
      const copy = copyMessage(tensor)
      copy.name = name
      graph.addInitializer(copy)
    }
  }
  for (const node of other.nodes()) {
    const copy = copyNode(node)
    copy.name = ''
    copy.input = node.input.map(rename)
    copy.output = node.output.map(rename)
    graph.addNode(copy)
  }
  return rename
}
