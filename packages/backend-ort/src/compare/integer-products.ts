import { own, type HostTensor } from '@lowbit/core'
import { intAttribute, intsAttribute, type NodeProto, stringAttribute } from '@lowbit/formats'
import { type Graph, isOp, type LoadTensor, MICROSOFT } from '@lowbit/onnx'

/** How a convolution slides, over its spatial axes. */
export interface Window {
  readonly kernel: readonly number[]
  readonly strides: readonly number[]
  readonly dilations: readonly number[]
  /** Before each axis, then after each. */
  readonly pads: readonly number[]
}

/** A product of quantized activations with a constant int8 weight, as a file has it: QDQ or integer operators. */
export interface IntegerProduct {
  /** Name of the operator, or of its output. */
  readonly id: string
  readonly op: string
  /** Tensor of the activations' codes. */
  readonly codes: string
  /** Tensor of their zero point; '' for none. */
  readonly zeroPoint: string
  /** Its value where it is constant, else 0. */
  readonly zero: number
  /** `[rows, columns]`, columns in the order that kernels add them: kernel positions, then channels. */
  readonly weights: Int8Array
  readonly rows: number
  readonly columns: number
  readonly groups: number
  /** One, or one a row. */
  readonly scales: Float32Array
  /** Of convolutions. */
  readonly window?: Window
}

interface Operand {
  readonly codes: string
  readonly scale: string
  readonly zeroPoint: string
}

/** Positions of `codes, scale, zero point` of both operands in integer operators. */
const INTEGER: Readonly<Record<string, readonly [x: readonly [number, number, number], w: readonly [number, number, number]]>> = {
  QLinearConv: [[0, 1, 2], [3, 4, 5]],
  QLinearMatMul: [[0, 1, 2], [3, 4, 5]],
  QGemm: [[0, 1, 2], [3, 4, 5]],
  ConvInteger: [[0, -1, 2], [1, -1, 3]],
  MatMulInteger: [[0, -1, 2], [1, -1, 3]],
  MatMulIntegerToFloat: [[0, 2, 4], [1, 3, 5]],
}

/** The products of a graph that ONNX Runtime computes with integer kernels. */
export async function findIntegerProducts(graph: Graph, load: LoadTensor): Promise<readonly IntegerProduct[]> {
  const found: IntegerProduct[] = []
  for (const node of graph.nodes()) {
    const operands = integerOperands(node) ?? dequantizedOperands(graph, node)
    if (operands !== undefined) found.push(...(await describe(graph, node, operands, load)))
  }
  return found
}

function integerOperands(node: NodeProto): readonly [Operand, Operand] | undefined {
  const places = ['', 'ai.onnx', MICROSOFT].includes(node.domain) ? own(INTEGER, node.opType) : undefined
  if (places === undefined) return undefined
  const [x, w] = places.map(([codes, scale, zeroPoint]) => ({ codes: node.input[codes] ?? '', scale: node.input[scale] ?? '', zeroPoint: node.input[zeroPoint] ?? '' }))
  return x === undefined || w === undefined ? undefined : [x, w]
}

/** A float operator between DequantizeLinear and QuantizeLinear, where the runtime puts an integer one. */
function dequantizedOperands(graph: Graph, node: NodeProto): readonly [Operand, Operand] | undefined {
  if (!['Conv', 'MatMul', 'Gemm'].some((op) => isOp(node, op))) return undefined
  const [x, w] = [0, 1].map((i): Operand | undefined => {
    const producer = graph.producer(node.input[i] ?? '')
    if (producer === undefined || !isOp(producer, 'DequantizeLinear')) return undefined
    const [codes = '', scale = '', zeroPoint = ''] = producer.input
    return { codes, scale, zeroPoint }
  })
  // A convolution whose output is not quantized stays one of floats.
  if (x === undefined || w === undefined || (isOp(node, 'Conv') && !isQuantizedAfter(graph, node.output[0] ?? ''))) return undefined
  return [x, w]
}

function isQuantizedAfter(graph: Graph, name: string): boolean {
  return graph.consumers(name).some((reader) => isOp(reader, 'QuantizeLinear') || ((isOp(reader, 'Relu') || isOp(reader, 'Clip')) && graph.consumers(reader.output[0] ?? '').some((r) => isOp(r, 'QuantizeLinear'))))
}

async function describe(graph: Graph, node: NodeProto, [x, w]: readonly [Operand, Operand], load: LoadTensor): Promise<readonly IntegerProduct[]> {
  const constantOf = async (name: string): Promise<HostTensor | undefined> => {
    const tensor = name === '' ? undefined : graph.constant(name)
    return tensor === undefined ? undefined : load(tensor)
  }
  const weight = await constantOf(w.codes)
  if (weight === undefined || weight.dtype !== 'int8' || !(weight.data instanceof Int8Array)) return []
  const scale = (await constantOf(w.scale))?.data
  const facts = {
    id: node.name === '' ? (node.output[0] ?? '') : node.name,
    op: node.opType,
    codes: x.codes,
    zeroPoint: x.zeroPoint,
    zero: Number((await constantOf(x.zeroPoint))?.data[0] ?? 0),
    scales: scale instanceof Float32Array ? scale : Float32Array.of(1),
  }
  if (node.opType.includes('Conv')) {
    const groups = intAttribute(node, 'group', 1)
    const [rows = 0, channels = 0, ...kernel] = weight.shape
    // Depthwise kernels multiply in 32 bits.
    if (channels < 2 || kernel.length === 0 || rows % groups > 0) return []
    const window = windowOf(node, kernel)
    if (window === undefined) return []
    const size = kernel.reduce((a, b) => a * b, 1)
    return [{ ...facts, rows, columns: channels * size, groups, weights: channelsLast(weight.data, rows, channels, size), window }]
  }
  const [first = 0, second = 0] = weight.shape
  if (weight.shape.length !== 2 || intAttribute(node, 'transA', 0) === 1) return []
  const isTurned = intAttribute(node, 'transB', 0) === 1
  const [rows, columns] = isTurned ? [first, second] : [second, first]
  return [{ ...facts, rows, columns, groups: 1, weights: isTurned ? weight.data : channelsLast(weight.data, 1, columns, rows) }]
}

/** `[rows, channels, size]` → `[rows, size, channels]`. */
function channelsLast(data: Int8Array, rows: number, channels: number, size: number): Int8Array {
  const out = new Int8Array(data.length)
  for (let n = 0; n < rows; n++) {
    for (let c = 0; c < channels; c++) {
      for (let s = 0; s < size; s++) out[(n * size + s) * channels + c] = data[(n * channels + c) * size + s] ?? 0
    }
  }
  return out
}

function windowOf(node: NodeProto, kernel: readonly number[]): Window | undefined {
  // Padding that depends on the input's size: such files are old, and their shapes are fixed on export.
  if (!['NOTSET', 'VALID'].includes(stringAttribute(node, 'auto_pad', 'NOTSET'))) return undefined
  const list = (name: string, length: number, fallback: number): readonly number[] => intsAttribute(node, name)?.map(Number) ?? new Array<number>(length).fill(fallback)
  return { kernel, strides: list('strides', kernel.length, 1), dilations: list('dilations', kernel.length, 1), pads: list('pads', 2 * kernel.length, 0) }
}
