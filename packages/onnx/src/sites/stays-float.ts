import { findAttribute, onnxTypeOf, tensorBytes, type TensorProto } from '@lowbit/formats'
import { type Graph, isOp } from '../graph/index.js'

/** Smaller tensors are not worth a line each. */
const LEAST_BYTES = 1024

/** A stored tensor of floats that no site holds. */
export interface FloatTensor {
  readonly id: string
  readonly reason: string
  readonly bytes: number
}

/**
 * Every stored tensor of floats above 1 KB that is no site's weight: what stays in float whatever is chosen.
 * @param claimed - names of the tensors that sites hold, or that stand behind what is listed elsewhere
 */
export function staysFloat(graph: Graph, claimed: ReadonlySet<string>): FloatTensor[] {
  const found: FloatTensor[] = []
  const look = (name: string, tensor: TensorProto | undefined): void => {
    if (tensor === undefined || claimed.has(name)) return
    const type = onnxTypeOf(tensor.dataType)
    if (type !== 'float32' && type !== 'float16' && type !== 'bfloat16' && type !== 'float64') return
    const bytes = tensorBytes(tensor)
    if (bytes < LEAST_BYTES) return
    found.push({ id: name, reason: reasonOf(graph, name, tensor), bytes })
  }
  for (const tensor of graph.initializers()) look(tensor.name, tensor)
  for (const node of graph.nodes()) if (isOp(node, 'Constant')) look(node.output[0] ?? '', findAttribute(node, 'value')?.t)
  return found
}

function reasonOf(graph: Graph, name: string, tensor: TensorProto): string {
  if (graph.isOutput(name)) return 'an output of the model'
  const readers = graph.consumers(name)
  const ops = [...new Set(readers.map((n) => n.opType))].join(', ')
  if (readers.length === 0) return 'nothing reads it'
  if (readers.every((n) => isOp(n, 'DequantizeLinear') || isOp(n, 'QuantizeLinear') || n.opType === 'MatMulNBits' || n.opType === 'GatherBlockQuantized')) return 'scales of what is quantized already'
  if (tensor.dims.length < 2) return `a vector, read by ${ops}`
  return `read by ${ops}, which takes no quantized weight`
}
