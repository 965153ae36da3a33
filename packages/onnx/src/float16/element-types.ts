import { own } from '@lowbit/core'
import { findAttribute, intAttribute, type NodeProto, type OnnxType, onnxTypeOf, type ValueInfoProto } from '@lowbit/formats'
import type { Graph } from '../graph/index.js'

/** Outputs that have one type whatever goes in. */
const FIXED: Readonly<Record<string, readonly OnnxType[]>> = {
  And: ['bool'], ArgMax: ['int64'], ArgMin: ['int64'], BitShift: [], DynamicQuantizeLinear: ['uint8', 'float32', 'uint8'], Equal: ['bool'], Greater: ['bool'],
  GreaterOrEqual: ['bool'], IsInf: ['bool'], IsNaN: ['bool'], Less: ['bool'], LessOrEqual: ['bool'], NonMaxSuppression: ['int64'], NonZero: ['int64'], Not: ['bool'],
  Or: ['bool'], Shape: ['int64'], Size: ['int64'], Xor: ['bool'],
}

/** Which input gives the type of the first output, where it is not the first. */
const TYPED_BY: Readonly<Record<string, number>> = { CastLike: 1, DequantizeLinear: 1, OneHot: 2, Where: 1 }

/** Outputs after the first that have a type of their own. */
const LATER: Readonly<Record<string, readonly OnnxType[]>> = { Dropout: ['bool'], LayerNormalization: ['float32', 'float32'], MaxPool: ['int64'], TopK: ['int64'] }

/** Operators of which nothing is known here: sequences, bodies, sparse and quantized tensors. */
const UNKNOWN = ['If', 'Loop', 'Scan', 'SequenceAt', 'SequenceConstruct', 'SequenceEmpty', 'SequenceInsert', 'SequenceErase', 'SplitToSequence', 'ConcatFromSequence', 'Optional', 'OptionalGetElement', 'OptionalHasElement', 'StringNormalizer', 'TfIdfVectorizer', 'RegexFullMatch', 'QuantizeLinear', 'ConvInteger', 'MatMulInteger', 'QLinearConv', 'QLinearMatMul', 'Unique', 'ImageDecoder']

/**
 * The element type of every tensor of the main graph of which the operators before it leave no doubt. What the file says about inputs,
 * outputs and tensors between (`value_info`) is believed.
 */
export function elementTypes(graph: Graph): ReadonlyMap<string, OnnxType> {
  const types = new Map<string, OnnxType>()
  const put = (name: string | undefined, type: OnnxType | undefined): void => {
    if (name !== undefined && name !== '' && type !== undefined && !types.has(name)) types.set(name, type)
  }
  for (const info of [...graph.proto.input, ...graph.proto.output, ...graph.proto.valueInfo]) put(info.name, declaredType(info))
  for (const tensor of graph.initializers()) types.set(tensor.name, onnxTypeOf(tensor.dataType) ?? 'bool')
  for (const node of graph.sort()) {
    const [first, ...rest] = outputTypes(node, types)
    put(node.output[0], first)
    rest.forEach((type, i) => put(node.output[i + 1], type))
  }
  return types
}

/** The type that a file declares for a tensor. */
export function declaredType({ type }: ValueInfoProto): OnnxType | undefined {
  return type?.value.case === 'tensorType' ? onnxTypeOf(type.value.value.elemType) : undefined
}

function outputTypes(node: NodeProto, types: ReadonlyMap<string, OnnxType>): readonly (OnnxType | undefined)[] {
  if (node.domain !== '' && node.domain !== 'ai.onnx' && node.domain !== 'com.microsoft') return []
  const fixed = own(FIXED, node.opType)
  if (fixed !== undefined) return fixed
  if (UNKNOWN.includes(node.opType)) return []
  if (node.opType === 'Cast') return [onnxTypeOf(intAttribute(node, 'to', 0))]
  if (node.opType === 'Constant') return [constantType(node)]
  if (node.opType === 'ConstantOfShape') return [onnxTypeOf(findAttribute(node, 'value')?.t?.dataType ?? 1)]
  if (node.opType.startsWith('Random') || node.opType === 'EyeLike' || node.opType === 'Bernoulli') return [onnxTypeOf(intAttribute(node, 'dtype', 0))]
  const type = types.get(node.input[own(TYPED_BY, node.opType) ?? 0] ?? '')
  const later = own(LATER, node.opType)
  return node.output.map((_, i) => (i === 0 || later === undefined ? type : later[i - 1]))
}

function constantType(node: NodeProto): OnnxType | undefined {
  const value = findAttribute(node, 'value')?.t
  if (value !== undefined) return onnxTypeOf(value.dataType)
  if (node.attribute.some((a) => a.name === 'value_float' || a.name === 'value_floats')) return 'float32'
  return node.attribute.some((a) => a.name === 'value_int' || a.name === 'value_ints') ? 'int64' : undefined
}
