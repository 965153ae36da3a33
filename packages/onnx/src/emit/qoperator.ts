import { own } from '@lowbit/core'
import { DataType, floatAttribute, intAttribute, node as makeNode, type NodeProto } from '@lowbit/formats'
import { type Graph, isOp, MICROSOFT } from '../graph/index.js'
import { activationInputs, staticRole } from '../static/index.js'

/** A quantized tensor: codes, scale, zero point, as tensor names. */
type Quantized = readonly [codes: string, scale: string, zeroPoint: string]

/** Operators with an integer form over `X, scale, zero point, Y scale, Y zero point`. */
const UNARY: Readonly<Record<string, string>> = {
  LeakyRelu: 'QLinearLeakyRelu',
  Sigmoid: 'QLinearSigmoid',
  AveragePool: 'QLinearAveragePool',
  GlobalAveragePool: 'QLinearGlobalAveragePool',
  Softmax: 'QLinearSoftmax',
}

const BINARY: Readonly<Record<string, string>> = { Add: 'QLinearAdd', Mul: 'QLinearMul' }

/**
 * Puts integer operators in the place of float operators between DequantizeLinear and QuantizeLinear: QLinearConv, QLinearMatMul,
 * QGemm and the rest of ONNX Runtime's. What has no integer form keeps float arithmetic.
 */
export function fuseIntegerOperators(graph: Graph): void {
  for (const node of graph.sort()) fuse(graph, node)
  graph.removeDead()
  if (graph.nodes().some((n) => n.domain === MICROSOFT)) graph.setOpset(MICROSOFT, Math.max(1, graph.opset(MICROSOFT)))
}

function fuse(graph: Graph, node: NodeProto): void {
  if (node.domain !== '' && node.domain !== 'ai.onnx') return
  const output = quantizedOutput(graph, node)
  const fused = fusedNode(graph, node, output)
  if (fused === undefined) return
  graph.removeNode(node)
  if (output !== undefined) graph.removeNode(output.quantize)
  graph.addNode(fused)
}

/** The QuantizeLinear that alone reads a node's output, with what it makes. */
function quantizedOutput(graph: Graph, node: NodeProto): { readonly quantize: NodeProto; readonly tensor: Quantized } | undefined {
  const output = node.output[0] ?? ''
  const [reader, ...others] = graph.consumers(output)
  if (reader === undefined || others.length > 0 || graph.isOutput(output) || !isOp(reader, 'QuantizeLinear')) return undefined
  const [, scale = '', zero = ''] = reader.input
  if (isWide(graph, zero)) return undefined
  return { quantize: reader, tensor: [reader.output[0] ?? '', scale, zero] }
}

/** What a DequantizeLinear reads, behind a name. */
function quantizedInput(graph: Graph, name: string): Quantized | undefined {
  const node = graph.producer(name)
  if (node === undefined || !isOp(node, 'DequantizeLinear')) return undefined
  const [codes = '', scale = '', zero = ''] = node.input
  return isWide(graph, zero) ? undefined : [codes, scale, zero]
}

/** Integer operators take 8 bits only. */
function isWide(graph: Graph, zeroPoint: string): boolean {
  const type = graph.constant(zeroPoint)?.dataType
  return type === DataType.INT16 || type === DataType.UINT16
}

/** Integer operators take activations of one type, and signed ones only with signed weights. */
function isOneType(graph: Graph, node: NodeProto, inputs: readonly (Quantized | undefined)[], output: Quantized | undefined): boolean {
  const typeOf = (tensor: Quantized | undefined): number | undefined => (tensor === undefined ? undefined : graph.constant(tensor[2])?.dataType)
  const activations = [...activationInputs(node).filter((i) => graph.constant(inputs[i]?.[0] ?? '') === undefined).map((i) => typeOf(inputs[i])), typeOf(output)]
  const types = new Set(activations.filter((type) => type !== undefined))
  const isProduct = staticRole(graph, node) === 'product'
  return types.size <= 1 && !(isProduct && types.has(DataType.INT8) && typeOf(inputs[1]) === DataType.UINT8)
}

function fusedNode(graph: Graph, node: NodeProto, output: { readonly tensor: Quantized } | undefined): NodeProto | undefined {
  const inputs = node.input.map((name) => quantizedInput(graph, name))
  if (!isOneType(graph, node, inputs, output?.tensor)) return undefined
  const [first, second, third] = inputs
  const made = (op: string, names: readonly string[], domain = MICROSOFT): NodeProto => {
    const fused = makeNode(op, names, [output?.tensor[0] ?? node.output[0] ?? ''], {}, domain, node.name)
    fused.attribute = node.attribute
    return fused
  }
  if (isOp(node, 'Gemm') && isPlainGemm(node) && first !== undefined && second !== undefined && (node.input.length < 3 || third !== undefined)) {
    return gemm(node, made, [first, second, third], output?.tensor)
  }
  if (output === undefined) return undefined
  const [, scale, zero] = output.tensor
  if (isOp(node, 'Conv') && first !== undefined && second !== undefined && (node.input.length < 3 || third !== undefined)) {
    return made('QLinearConv', [...first, ...second, scale, zero, ...(third === undefined ? [] : [third[0]])], '')
  }
  if (isOp(node, 'MatMul') && first !== undefined && second !== undefined) return made('QLinearMatMul', [...first, ...second, scale, zero], '')
  const binary = own(BINARY, node.opType)
  if (binary !== undefined && first !== undefined && second !== undefined) return made(binary, [...first, ...second, scale, zero])
  const unary = own(UNARY, node.opType)
  if (unary !== undefined && first !== undefined) return withOpset(graph, node, made(unary, [...first, scale, zero]))
  if (isOp(node, 'Where') && second !== undefined && third !== undefined) return made('QLinearWhere', [node.input[0] ?? '', ...second, ...third, scale, zero])
  if (staticRole(graph, node) === 'movement') return moved(node, made, inputs, output.tensor)
  return undefined
}

/** With factors, the int32 bias of QGemm would stand for another value. */
function isPlainGemm(node: NodeProto): boolean {
  return floatAttribute(node, 'alpha', 1) === 1 && floatAttribute(node, 'beta', 1) === 1
}

/** A bias in QGemm is int32, scaled by the product of the scales. */
function gemm(node: NodeProto, made: (op: string, names: readonly string[]) => NodeProto, [a, b, c]: readonly [Quantized, Quantized, Quantized | undefined], output: Quantized | undefined): NodeProto {
  const fused = made('QGemm', [a[0], a[1], a[2], b[0], b[1], b[2], c?.[0] ?? '', ...(output === undefined ? [] : [output[1], output[2]])])
  fused.attribute = node.attribute.filter((attribute) => attribute.name !== 'beta')
  return fused
}

/** Movements take codes as they are where nothing is rescaled; a Concat can rescale its parts. */
function moved(node: NodeProto, made: (op: string, names: readonly string[], domain?: string) => NodeProto, inputs: readonly (Quantized | undefined)[], output: Quantized): NodeProto | undefined {
  const positions = activationInputs(node)
  const parts = positions.map((i) => inputs[i])
  const same = parts.every((part) => part !== undefined && part[1] === output[1] && part[2] === output[2])
  // A pad of codes would need the zero point as its value, and Split makes several tensors at once.
  if (same && !['Pad', 'Split'].some((op) => isOp(node, op))) {
    return made(node.opType, node.input.map((name, i) => (positions.includes(i) ? (inputs[i]?.[0] ?? name) : name)), '')
  }
  const known = parts.filter((part) => part !== undefined)
  if (isOp(node, 'Concat') && known.length === parts.length) return made('QLinearConcat', [output[1], output[2], ...known.flat()])
  return undefined
}

/** QLinearSoftmax wants to know which Softmax it stands for. */
function withOpset(graph: Graph, node: NodeProto, fused: NodeProto): NodeProto {
  if (!isOp(node, 'Softmax')) return fused
  const attributes = makeNode('Softmax', [], [], { axis: intAttribute(node, 'axis', -1), opset: graph.opset() }).attribute
  fused.attribute = attributes
  return fused
}
