import { own } from '@lowbit/core'
import type { NodeProto } from '@lowbit/formats'
import { MICROSOFT } from '../graph/index.js'

/** Operators whose floats are of one type, which may be float16. */
const ONNX = new Set([
  'Abs', 'Add', 'ArgMax', 'ArgMin', 'AveragePool', 'BatchNormalization', 'Cast', 'Ceil', 'Clip', 'Concat', 'ConstantOfShape', 'Conv', 'ConvTranspose', 'Cos', 'DepthToSpace',
  'Div', 'Dropout', 'Einsum', 'Elu', 'Equal', 'Erf', 'Exp', 'Expand', 'Flatten', 'Floor', 'GRU', 'Gather', 'GatherElements', 'GatherND', 'Gelu', 'Gemm', 'GlobalAveragePool',
  'GlobalMaxPool', 'Greater', 'GreaterOrEqual', 'GroupNormalization', 'HardSigmoid', 'HardSwish', 'Identity', 'InstanceNormalization', 'LSTM', 'LayerNormalization', 'LeakyRelu',
  'Less', 'LessOrEqual', 'Log', 'LogSoftmax', 'MatMul', 'Max', 'MaxPool', 'Mean', 'Min', 'Mish', 'Mul', 'Neg', 'PRelu', 'Pad', 'Pow', 'RNN', 'Reciprocal', 'ReduceL1', 'ReduceL2',
  'ReduceLogSumExp', 'ReduceMax', 'ReduceMean', 'ReduceMin', 'ReduceSum', 'ReduceSumSquare', 'Relu', 'Reshape', 'Resize', 'Round', 'ScatterElements', 'ScatterND', 'Selu', 'Sigmoid', 'Sign',
  'SimplifiedLayerNormalization', 'Sin', 'Slice', 'Softmax', 'Softplus', 'Softsign', 'SpaceToDepth', 'Split', 'Sqrt', 'Squeeze', 'Sub', 'Sum', 'Tan', 'Tanh', 'ThresholdedRelu', 'Tile',
  'Transpose', 'Trilu', 'Unsqueeze', 'Where',
])

const ORT = new Set([
  'Attention', 'BiasGelu', 'EmbedLayerNormalization', 'FastGelu', 'FusedMatMul', 'Gelu', 'GroupQueryAttention', 'MatMulNBits', 'MultiHeadAttention', 'QuickGelu', 'RotaryEmbedding',
  'SkipLayerNormalization', 'SkipSimplifiedLayerNormalization',
])

/** The inputs that take the operator's type, where not all floats do: scales of Resize stay float32. */
const TYPED_INPUTS: Readonly<Record<string, readonly number[]>> = { Resize: [0] }

/** True for an operator that computes in float16 where its inputs are. */
export function takesHalf(node: NodeProto): boolean {
  return node.domain === MICROSOFT ? ORT.has(node.opType) : (node.domain === '' || node.domain === 'ai.onnx') && ONNX.has(node.opType)
}

/** True for an input that must have the operator's own type. */
export function isTypedInput(node: NodeProto, index: number): boolean {
  return own(TYPED_INPUTS, node.opType)?.includes(index) ?? true
}
