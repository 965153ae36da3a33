import { findAttribute, hostToTensor, intAttribute, isExternal, node as makeNode, type NodeProto, onnxTypeOf, tensorBytes, type TensorProto } from '@lowbit/formats'
import { copyMessage, type Graph, isOp, subgraphs } from '../graph/index.js'
import { constantChain, findSites, STORED_MARK } from '../sites/index.js'

/** Smaller tensors cost more to expand than they save. */
const LEAST_BYTES = 1024

/** Rows shorter than this would spend more on scales than they save on codes. */
const LEAST_COLUMNS = 16

/**
 * Inputs that hold weights, of operators that no integer or low-bit kernel of a runtime takes: before these, DequantizeLinear. By
 * operator, positions of inputs; everything else (biases, norms, positions that are added, masks) is no weight.
 */
const WEIGHT_INPUTS: ReadonlyMap<string, readonly number[]> = new Map([
  ['MatMul', [0, 1]],
  ['Gemm', [0, 1]],
  ['Einsum', [0, 1, 2, 3]],
  ['Conv', [1]],
  ['ConvTranspose', [1]],
  ['Gather', [0]],
  ['GatherND', [0]],
  ['GatherElements', [0]],
  ['LSTM', [1, 2]],
  ['GRU', [1, 2]],
  ['RNN', [1, 2]],
  ['com.microsoft/Attention', [1]],
  ['com.microsoft/DecoderAttention', [2, 3]],
  ['com.microsoft/LongformerAttention', [1, 4]],
  ['com.microsoft/PackedAttention', [1]],
  ['com.microsoft/EmbedLayerNormalization', [2, 3, 4]],
  ['com.microsoft/FusedMatMul', [0, 1]],
  ['com.microsoft/FusedMatMulActivation', [1]],
  ['com.microsoft/FusedGemm', [1]],
  ['com.microsoft/FusedConv', [1]],
  ['com.microsoft/TransposeMatMul', [0, 1]],
  ['com.microsoft/GemmFastGelu', [1]],
  ['com.microsoft/MoE', [2, 4, 6]],
])

/** Operators that hand a stored tensor on, in another shape or order. */
const MOVERS = ['Identity', 'Transpose', 'Reshape', 'Squeeze', 'Unsqueeze', 'Flatten', 'Cast', 'Slice', 'Split', 'Concat', 'Expand', 'Tile']

/**
 * Gives each stored weight that no site takes a place of its own: the tensor as a matrix, and a Reshape of our own behind it that has
 * its old name. Quantized, that is a DequantizeLinear which all readers share: recurrent layers, fused operators, branches and
 * loops, products with a constant on the left or in more dimensions than two. What is not quantized becomes what it was again, see
 * {@link hideStored}.
 */
export function showStored(graph: Graph): void {
  const claimed = new Set<string>()
  for (const record of findSites(graph).records) {
    const name = graph.producer(record.anchor)?.input[record.weightInput] ?? ''
    const root = constantChain(graph, name)?.root
    // A weight that others read as well is kept once: as one that all of them read.
    if (root !== undefined && !(record.site.weight.shared === true && isWeightElsewhere(graph, root))) claimed.add(root)
  }
  for (const { name, tensor } of storedOf(graph)) {
    if (!claimed.has(name) && isLarge(tensor) && !isMarked(graph, name) && isWeightOf(graph, name)) show(graph, name, tensor)
  }
}

function storedOf(graph: Graph): readonly { readonly name: string; readonly tensor: TensorProto }[] {
  const constants = graph.nodes().flatMap((node) => {
    const value = isOp(node, 'Constant') ? findAttribute(node, 'value')?.t : undefined
    return value === undefined ? [] : [{ name: node.output[0] ?? '', tensor: value }]
  })
  return [...graph.initializers().map((tensor) => ({ name: tensor.name, tensor })), ...constants]
}

function show(graph: Graph, name: string, tensor: TensorProto): void {
  const dims = tensor.dims.map(Number)
  const { rows, columns } = matrixOf(dims)
  const own = copyMessage(tensor)
  own.name = graph.freshName(`${name}_matrix`)
  own.dims = [BigInt(rows), BigInt(columns)]
  const producer = graph.producer(name)
  if (producer === undefined) graph.removeInitializer(name)
  else graph.removeNode(producer)
  graph.addInitializer(own)
  const shape = graph.addInitializer(hostToTensor(graph.freshName(`${name}_shape`), { dtype: 'int64', shape: [dims.length], data: BigInt64Array.from(dims, BigInt) }))
  const type = onnxTypeOf(tensor.dataType)
  // Codes become float32 or float16; a Cast gives the readers the type they had.
  const isCast = type === 'float64' || type === 'bfloat16'
  const shaped = isCast ? graph.freshName(`${name}_shaped`) : name
  const nodes = [makeNode('Reshape', [own.name, shape], [shaped], {}, '', graph.freshName(`${name}/stored`))]
  if (isCast) nodes.push(makeNode('Cast', [shaped], [name], { to: tensor.dataType }, '', graph.freshName(`${name}/Cast`)))
  for (const node of nodes) node.docString = STORED_MARK
  graph.addNode(...nodes)
}

/** Leading dims as rows, as many of the last as make a row that is worth a scale. */
export function matrixOf(dims: readonly number[]): { readonly rows: number; readonly columns: number } {
  let columns = 1
  let at = dims.length
  while (at > 1 && columns < LEAST_COLUMNS) columns *= dims[--at] ?? 1
  return { rows: dims.slice(0, at).reduce((a, b) => a * b, 1), columns }
}

/** Puts tensors that {@link showStored} showed and nobody quantized back to what they were. */
export function hideStored(graph: Graph): void {
  for (const node of graph.nodes()) {
    if (node.docString !== STORED_MARK || isOp(node, 'Cast')) continue
    const [from = '', shape = ''] = node.input
    const [cast] = graph.consumers(node.output[0] ?? '').filter((n) => n.docString === STORED_MARK)
    const [name = ''] = (cast ?? node).output
    const stored = graph.initializer(from)
    const dims = graph.initializer(shape)
    if (stored === undefined || dims === undefined || graph.consumers(from).length > 1) {
      node.docString = ''
      if (cast !== undefined) cast.docString = ''
      // The Reshape stays, even where it changes nothing: ONNX Runtime takes a DequantizeLinear right before a MatMul for one with
      // a scale a column, whatever its axis says.
      continue
    }
    const own = copyMessage(stored)
    own.name = name
    own.dims = Array.from(new BigInt64Array(dims.rawData.slice().buffer))
    graph.removeNode(node)
    if (cast !== undefined) graph.removeNode(cast)
    graph.removeIfUnread(from)
    graph.removeIfUnread(shape)
    graph.addInitializer(own)
  }
}

function isMarked(graph: Graph, name: string): boolean {
  return graph.consumers(name).some((n) => n.docString === STORED_MARK)
}

function isLarge(tensor: TensorProto): boolean {
  const type = onnxTypeOf(tensor.dataType)
  return tensor.dims.length >= 2 && (type === 'float32' || type === 'float16' || type === 'float64' || type === 'bfloat16') && (isExternal(tensor) || tensorBytes(tensor) >= LEAST_BYTES) && tensor.dims.every((d) => d > 0n)
}

/** Tensors that one weight is followed through. */
const MAX_NAMES = 32

/** True if some reader takes the tensor as a weight, and none as something that rounding would ruin. */
function isWeightOf(graph: Graph, name: string): boolean {
  if (graph.isOutput(name)) return false
  const names = [name]
  for (let i = 0; i < names.length && i < MAX_NAMES; i++) {
    for (const node of graph.consumers(names[i])) {
      if (takesWeight(node, names[i])) return true
      if (MOVERS.some((op) => isOp(node, op))) names.push(...node.output)
    }
  }
  return false
}

/** True if a reader that is no site of the main graph takes it as a weight: inside a branch or loop, or where no site is made. */
function isWeightElsewhere(graph: Graph, name: string): boolean {
  return !graph.isOutput(name) && graph.consumers(name).some((node) => subgraphs(node).length > 0 && insideTakesWeight(node, name))
}

/** Follows what a node hands on too. */
function takesWeight(node: NodeProto, name: string): boolean {
  if (subgraphs(node).length > 0) return insideTakesWeight(node, name)
  const key = node.domain === '' || node.domain === 'ai.onnx' ? node.opType : `${node.domain}/${node.opType}`
  if (isOp(node, 'Gather') && intAttribute(node, 'axis', 0) === 0 && node.input[0] !== name) return false
  return WEIGHT_INPUTS.get(key)?.some((i) => node.input[i] === name) ?? false
}

function insideTakesWeight(node: NodeProto, name: string): boolean {
  return subgraphs(node).some((body) => {
    const names = new Set([name])
    // What a body moves about is the weight still.
    for (const inner of body.node) {
      if (MOVERS.some((op) => isOp(inner, op)) && inner.input.some((i) => names.has(i))) for (const output of inner.output) names.add(output)
    }
    return body.node.some((inner) => [...names].some((n) => takesWeight(inner, n)))
  })
}
