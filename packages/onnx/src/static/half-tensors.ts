import { own } from '@lowbit/core'
import { DataType, type NodeProto, onnxTypeOf } from '@lowbit/formats'
import { type Graph, isOp, MICROSOFT } from '../graph/index.js'
import { activationInputs, activationOutputs, staticRole } from './operators.js'
import { Union } from './union.js'

/** Inputs beside activations that have the type of the activations, where they are no constants. */
const TYPED: Readonly<Record<string, readonly number[]>> = {
  BatchNormalization: [1, 2, 3, 4], Clip: [1, 2], Conv: [1, 2], ConvTranspose: [1, 2], Gemm: [1, 2], InstanceNormalization: [1, 2], LayerNormalization: [1, 2], Pad: [2],
}

/** Most models have no float16 at all: nothing more is looked at then. */
export function holdsHalf(graph: Graph): boolean {
  const isHalfInfo = graph.proto.input.some(({ type }) => type?.value.case === 'tensorType' && onnxTypeOf(type.value.value.elemType) === 'float16')
  return isHalfInfo || graph.initializers().some((t) => t.dataType === DataType.FLOAT16) || graph.nodes().some((n) => (isOp(n, 'Cast') && n.attribute.some((a) => a.name === 'to' && Number(a.i) === Number(DataType.FLOAT16))) || graph.constant(n.output[0] ?? '')?.dataType === DataType.FLOAT16)
}

/** Operators beside the static ones whose inputs and output have one type. */
const ONE_TYPE = ['Abs', 'Acos', 'Atan', 'Ceil', 'Cos', 'Elu', 'Erf', 'Exp', 'Floor', 'Gelu', 'HardSwish', 'Log', 'Max', 'Mean', 'Min', 'Mish', 'Neg', 'Pow', 'ReduceMax', 'ReduceMean', 'ReduceMin', 'ReduceSum', 'Reciprocal', 'Round', 'Selu', 'Sign', 'Sin', 'Softplus', 'Softsign', 'Sqrt', 'Sum', 'Tanh', 'ThresholdedRelu']

/**
 * Which tensors are float16: what the file says, and what follows along operators of one type.
 * @param known - tensors that are
 */
export function halfTensors(graph: Graph, known: readonly string[] = []): (name: string) => boolean {
  const same = new Union()
  const seeds: string[] = [...known]
  for (const { name, type } of [...graph.proto.input, ...graph.proto.output, ...graph.proto.valueInfo]) {
    if (type?.value.case === 'tensorType' && onnxTypeOf(type.value.value.elemType) === 'float16') seeds.push(name)
  }
  for (const node of graph.nodes()) {
    if (isOp(node, 'Cast') && node.attribute.some((a) => a.name === 'to' && Number(a.i) === Number(DataType.FLOAT16))) seeds.push(node.output[0] ?? '')
    const isOne = staticRole(graph, node) !== 'float' || ONE_TYPE.some((op) => isOp(node, op)) || (node.domain === MICROSOFT && node.opType === 'Gelu')
    if (!isOne) continue
    const inputs = staticRole(graph, node) === 'float' ? [0] : activationInputs(node)
    const [first = '', ...others] = [...inputs.map((i) => node.input[i] ?? ''), ...activationOutputs(node)]
    for (const name of others) same.join(first, name)
    // Constants say what type the operator computes in.
    if (node.input.some((name, i) => isTyped(node, i) && graph.constant(name)?.dataType === DataType.FLOAT16)) seeds.push(first)
  }
  const half = new Set(seeds.filter((name) => name !== '').map((name) => same.find(name)))
  return (name) => half.has(same.find(name))
}

/** True for an input that has the type which the operator computes in. */
export function isTyped(node: NodeProto, index: number): boolean {
  return activationInputs(node).includes(index) || (own(TYPED, node.opType)?.includes(index) ?? false)
}
