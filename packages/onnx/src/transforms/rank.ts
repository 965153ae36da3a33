import { tensorShape } from '@lowbit/formats'
import { type Graph, isOp, toTensorRef } from '../graph/index.js'

/** Operators whose output has the rank of their first input. */
const KEEPS_RANK = ['BatchNormalization', 'InstanceNormalization', 'LayerNormalization', 'Relu', 'LeakyRelu', 'Clip', 'Sigmoid', 'Tanh', 'Identity', 'Dropout', 'Cast', 'Transpose']

/** Number of a tensor's dims, as far as the graph says it without running; undefined where it does not. */
export function rankOf(graph: Graph, name: string, depth = 0): number | undefined {
  const stored = graph.constant(name)
  if (stored !== undefined) return tensorShape(stored).length
  const noted = [...graph.proto.input, ...graph.proto.valueInfo, ...graph.proto.output].find((info) => info.name === name)
  const shape = noted === undefined ? undefined : toTensorRef(noted).shape
  if (shape !== undefined) return shape.length
  // A Gemm takes and makes matrices only.
  if (graph.consumers(name).some((reader) => isOp(reader, 'Gemm') && reader.input[0] === name)) return 2
  const node = graph.producer(name)
  if (node === undefined || depth > 8) return undefined
  if (isOp(node, 'Gemm') || isOp(node, 'Flatten')) return 2
  if (isOp(node, 'Conv') || isOp(node, 'ConvTranspose')) return rankOf(graph, node.input[1] ?? '', depth + 1)
  return KEEPS_RANK.some((op) => isOp(node, op)) || isOp(node, 'MatMul') ? rankOf(graph, node.input[0] ?? '', depth + 1) : undefined
}
