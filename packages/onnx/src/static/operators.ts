import { hostToFloat32, intAttribute, type NodeProto, stringAttribute, tensorToHost } from '@lowbit/formats'
import { type Graph, isOp } from '../graph/index.js'
import type { SiteOp, SiteRecord } from '../sites/site-record.js'

/** How an operator takes part in static quantization. */
export type StaticRole =
  /** Products with a weight, run on integer kernels. */
  | 'product'
  /** Moves values without changing them: what comes out has the scale of what goes in. */
  | 'movement'
  /** Has an integer kernel over its own input and output scales. */
  | 'arithmetic'
  /** Runs in float, or on something that is not an activation. */
  | 'float'

const PRODUCTS = ['Conv', 'ConvTranspose', 'Gemm', 'MatMul']

const MOVEMENTS = [
  'Concat', 'DepthToSpace', 'Expand', 'Flatten', 'Gather', 'GatherElements', 'Identity', 'MaxPool', 'Pad', 'Reshape', 'Resize', 'Slice',
  'SpaceToDepth', 'Split', 'Squeeze', 'Tile', 'Transpose', 'Unsqueeze',
]

/**
 * Operators that ONNX Runtime's own quantizer wraps by default, beyond products and movements. Pow, Erf, Tanh, Exp, Sqrt and
 * reductions are not among them: eight bits ruin them.
 */
const ARITHMETIC = [
  'Add', 'AveragePool', 'BatchNormalization', 'Clip', 'CumSum', 'Div', 'GlobalAveragePool', 'HardSigmoid', 'InstanceNormalization',
  'LayerNormalization', 'LeakyRelu', 'Mul', 'PRelu', 'Relu', 'Sigmoid', 'Softmax', 'Sub', 'TopK', 'Where',
]

/** Every operator that can take part in static quantization. */
export const STATIC_OPERATORS: readonly string[] = [...PRODUCTS, ...MOVEMENTS, ...ARITHMETIC].sort()

/** The role of a node. MatMul counts as a product with or without a constant weight. */
export function staticRole(graph: Graph, node: NodeProto): StaticRole {
  if (PRODUCTS.some((op) => isOp(node, op))) return 'product'
  if (isMovement(graph, node)) return 'movement'
  if (ARITHMETIC.some((op) => isOp(node, op))) return 'arithmetic'
  return 'float'
}

/** True for operators whose integer kernel writes integers only, so that their output is quantized too. */
export function writesIntegersOnly(node: NodeProto): boolean {
  return isOp(node, 'Conv')
}

/** True for sites whose product has an integer kernel. A transposed convolution has none, and a lookup is no product. */
export function hasIntegerProduct(op: SiteOp): boolean {
  return op === 'Conv' || op === 'Gemm' || op === 'MatMul'
}

/** True for sites that static quantization computes with integers: products that compute in float32, see {@link widen}. */
export function hasStaticProduct({ op, floatType }: Pick<SiteRecord, 'op' | 'floatType'>): boolean {
  return hasIntegerProduct(op) && floatType === 'float32'
}

/** Inputs of a node that carry activations; the others are indices, shapes, limits. Positions, not names. */
export function activationInputs(node: NodeProto): number[] {
  const all = node.input.flatMap((name, i) => (name === '' ? [] : [i]))
  if (isOp(node, 'Concat')) return all
  if (isOp(node, 'Where')) return all.filter((i) => i > 0)
  if (['Add', 'Sub', 'Mul', 'Div', 'MatMul', 'PRelu'].some((op) => isOp(node, op))) return all
  return all.slice(0, 1)
}

/** Outputs that carry activations: a TopK's indices and a MaxPool's do not. */
export function activationOutputs(node: NodeProto): string[] {
  const named = node.output.filter((name) => name !== '')
  return isOp(node, 'Split') ? named : named.slice(0, 1)
}

function isMovement(graph: Graph, node: NodeProto): boolean {
  if (!MOVEMENTS.some((op) => isOp(node, op))) return false
  // Interpolation makes new values; and nearest alone has integer kernels everywhere.
  if (isOp(node, 'Resize')) return stringAttribute(node, 'mode', 'nearest') === 'nearest'
  if (isOp(node, 'Pad')) return padsWithZero(graph, node)
  // Average by another name: LpPool and friends are not listed, MaxPool with indices has no integer kernel.
  if (isOp(node, 'MaxPool')) return node.output.filter((name) => name !== '').length === 1 && intAttribute(node, 'storage_order', 0) === 0
  return true
}

/** A pad value other than 0 may lie outside of the calibrated range. */
function padsWithZero(graph: Graph, node: NodeProto): boolean {
  if (stringAttribute(node, 'mode', 'constant') !== 'constant') return true
  const name = node.input[2] ?? ''
  if (name === '') return true
  const value = graph.constant(name)
  return value !== undefined && hostToFloat32(tensorToHost(value)).every((v) => v === 0)
}
