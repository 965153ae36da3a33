import { type HostTensor, LowbitError } from '@lowbit/core'
import { graph as makeGraph, hostToTensor, model as makeModel, type NodeProto, tensorBytes, valueInfo, writeOnnx } from '@lowbit/formats'
import { copyMessage, copyNode, type Graph, isOp } from '@lowbit/onnx'
import type { OrtModule } from '../ort.js'
import { createSession } from '../session.js'

/** Results larger than this are kept only if they are no larger than what they are computed from. */
const SMALL = 1 << 16

const NOT_CONSTANT = ['RandomNormal', 'RandomUniform', 'RandomNormalLike', 'RandomUniformLike', 'Multinomial', 'Bernoulli', 'Dropout', 'QuantizeLinear', 'DequantizeLinear']

/**
 * Computes what depends on constants alone, once, by the runtime, and stores the results. Constant nodes become initializers.
 * @returns number of nodes that are gone
 */
export async function foldConstants(ort: OrtModule, graph: Graph): Promise<number> {
  const before = graph.nodes().length
  for (const node of graph.nodes()) {
    if (!isOp(node, 'Constant')) continue
    const [name = ''] = node.output
    const tensor = graph.constant(name)
    if (tensor === undefined) continue
    graph.removeNode(node)
    const stored = copyMessage(tensor)
    stored.name = name
    graph.addInitializer(stored)
  }
  const constant = new Set<NodeProto>()
  for (const node of graph.sort()) if (isConstant(graph, node, constant)) constant.add(node)
  const wanted = [...constant].flatMap((node) => node.output).filter((name) => name !== '' && (graph.isOutput(name) || graph.consumers(name).some((reader) => !constant.has(reader))))
  if (wanted.length > 0) {
    const values = await compute(ort, graph, [...constant], wanted)
    for (const [name, value] of values) store(graph, name, value)
  }
  graph.removeDead()
  return before - graph.nodes().length
}

function isConstant(graph: Graph, node: NodeProto, known: ReadonlySet<NodeProto>): boolean {
  if (NOT_CONSTANT.includes(node.opType) || (node.domain !== '' && node.domain !== 'ai.onnx') || graph.captures(node).size > 0) return false
  return node.input.every((name) => {
    if (name === '' || graph.constant(name) !== undefined) return true
    const producer = graph.producer(name)
    return producer !== undefined && known.has(producer)
  })
}

async function compute(ort: OrtModule, graph: Graph, nodes: readonly NodeProto[], wanted: readonly string[]): Promise<ReadonlyMap<string, HostTensor>> {
  const read = new Set(nodes.flatMap((node) => node.input))
  const initializers = graph.initializers().filter((tensor) => read.has(tensor.name))
  const part = makeModel(makeGraph({ nodes: nodes.map(copyNode), inputs: [], outputs: wanted.map((name) => valueInfo(name)), initializers }), {}, Number(graph.model.irVersion))
  part.opsetImport = graph.model.opsetImport
  const session = await createSession(ort, writeOnnx(part), { graphOptimizationLevel: 'disabled' })
  try {
    return new Map(Object.entries(await session.run({}, wanted)))
  } finally {
    await session.release()
  }
}

function store(graph: Graph, name: string, value: HostTensor): void {
  const node = graph.producer(name)
  if (node === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: `tensor '${name}'`, found: 'a folded tensor without a node' })
  const bytes = value.data.byteLength
  const source = node.input.reduce((sum, input) => {
    const constant = graph.constant(input)
    return sum + (constant === undefined ? bytes : tensorBytes(constant))
  }, 0)
  if (bytes > SMALL && bytes > source) return
  // A graph output must be made by a node.
  if (graph.isOutput(name) || node.output.length > 1) return
  graph.removeNode(node)
  graph.addInitializer(hostToTensor(name, value))
}
