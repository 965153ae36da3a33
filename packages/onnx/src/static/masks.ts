import { hostToFloat32, isExternal, onnxTypeOf, tensorToHost, type NodeProto, type TensorProto } from '@lowbit/formats'
import { type Graph, isOp } from '../graph/index.js'
import { activationInputs, staticRole } from './operators.js'

/** No activation of a working network reaches this; the constants of attention masks do (-1e4 … -3.4e38). */
const MASK_VALUE = 9_000
/** Larger constants are not worth reading: masks are built from scalars or one row a position. */
const MAX_ELEMENTS = 1 << 22

/**
 * Tensors that must never be quantized: masks and all that they are added to, up to the Softmax that reads them. One constant of
 * -3.4e38 in a range gives a scale of 1e36, and every other value becomes 0.
 */
export function shieldedTensors(graph: Graph): ReadonlySet<string> {
  const shielded = new Set<string>()
  const spreads = (node: NodeProto): boolean => {
    const inputs = node.input.filter((name) => name !== '')
    // Products with a mask are not masks: `(1 - mask) · -3.4e38` is found through its constant, here as anywhere.
    const carries = ['Add', 'Sub', 'Mul', 'Where', 'Max', 'Min', 'Cast'].some((op) => isOp(node, op)) || staticRole(graph, node) === 'movement'
    return carries && inputs.some((name) => shielded.has(name) || isMaskConstant(graph.constant(name)))
  }
  for (const node of graph.sort()) {
    if (spreads(node)) for (const name of node.output) shielded.add(name)
  }
  for (const node of graph.nodes()) {
    if (isOp(node, 'Softmax') || isOp(node, 'LogSoftmax')) activationInputs(node).forEach((i) => shielded.add(node.input[i] ?? ''))
  }
  return shielded
}

function isMaskConstant(constant: TensorProto | undefined): boolean {
  if (constant === undefined || constant.dims.reduce((a, b) => a * Number(b), 1) > MAX_ELEMENTS) return false
  // What a model adds or multiplies by was read when it was opened.
  if (isExternal(constant)) return false
  const type = onnxTypeOf(constant.dataType)
  if (type !== 'float32' && type !== 'float64' && type !== 'float16' && type !== 'bfloat16') return false
  return hostToFloat32(tensorToHost(constant)).some((value) => value < -MASK_VALUE)
}
