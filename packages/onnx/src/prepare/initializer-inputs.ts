import type { Graph } from '../graph/index.js'

/** Old files list every initializer as an input too, which keeps the runtime from treating them as constant. */
export function dropInitializerInputs(graph: Graph): number {
  const before = graph.proto.input.length
  for (const tensor of graph.initializers()) {
    if (!graph.isInput(tensor.name)) continue
    graph.removeInitializer(tensor.name)
    graph.addInitializer(tensor)
  }
  return before - graph.proto.input.length
}
