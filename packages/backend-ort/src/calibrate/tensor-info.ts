import type { TensorRef } from '@lowbit/core'
import { writeOnnx } from '@lowbit/formats'
import type { Graph } from '../graph/index.js'
import type { OrtModule } from '../ort.js'
import { createSession } from '../session.js'

/**
 * Type and shape of every tensor of the main graph, as the runtime infers them: a graph output needs only a name. Symbolic
 * dims are strings.
 */
export async function tensorInfo(ort: OrtModule, graph: Graph): Promise<ReadonlyMap<string, TensorRef>> {
  const probe = graph.clone()
  for (const node of probe.nodes()) for (const name of node.output) if (name !== '') probe.addOutput(name)
  const session = await createSession(ort, writeOnnx(probe.toModel()), { graphOptimizationLevel: 'disabled' })
  try {
    return new Map([...session.inputs, ...session.outputs].map((ref) => [ref.name, ref]))
  } finally {
    await session.release()
  }
}
