import type { TensorRef } from '@lowbit/core'
import { writeOnnx } from '@lowbit/formats'
import type { Graph } from '@lowbit/onnx'
import type { OrtModule, SessionOptions } from '../ort.js'
import { createSession, type Session } from '../session.js'

/** Loads a graph into the runtime. */
export type OpenGraph = (graph: Graph, options: SessionOptions) => Promise<Session>

/** Loads graphs whose weights all stand in the model itself. */
export function openWhole(ort: OrtModule): OpenGraph {
  return (graph, options) => createSession(ort, writeOnnx(graph.toModel()), options)
}

/**
 * Type and shape of every tensor of the main graph, as the runtime infers them: a graph output needs only a name. Symbolic
 * dims are strings.
 */
export async function tensorInfo(ort: OrtModule, graph: Graph, open: OpenGraph = openWhole(ort)): Promise<ReadonlyMap<string, TensorRef>> {
  const probe = graph.clone()
  for (const node of probe.nodes()) for (const name of node.output) if (name !== '') probe.addOutput(name)
  const session = await open(probe, { graphOptimizationLevel: 'disabled' })
  try {
    return new Map([...session.inputs, ...session.outputs].map((ref) => [ref.name, ref]))
  } finally {
    await session.release()
  }
}
