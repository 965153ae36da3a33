import { onnxTypeOf, type NodeProto } from '@lowbit/formats'
import type { Finding } from '@lowbit/formats/doctor'
import { nodeName, type DoctorContext } from './context.js'

const INTEGER_OPERATORS = ['MatMulInteger', 'ConvInteger', 'QLinearConv', 'QLinearMatMul', 'QGemm', 'QLinearAdd', 'QLinearMul', 'QLinearSigmoid', 'QAttention', 'DynamicQuantizeMatMul', 'MatMulIntegerToFloat', 'DynamicQuantizeLSTM', 'DynamicQuantizeLinear']

/** Browsers give 2 GiB to one buffer, and protobuf to one message. */
const LARGEST_BUFFER = 2 ** 31

/** onnxruntime-web's WebGPU provider has no integer products: they run on the CPU, with a copy to it and back. */
export function integersOnWebgpu(context: DoctorContext): Finding[] {
  const found = context.ofType(...INTEGER_OPERATORS)
  if (found.length === 0 || !context.goesTo('webgpu')) return []
  return [{ rule: 'integers-on-webgpu', severity: context.isBoundFor('webgpu') ? 'warning' : 'hint', where: found.map(nodeName), found: `${found.length} integer operators (${kinds(found)}): WebGPU has no kernels for them, they run on the CPU with copies both ways`, cure: 'for WebGPU: lowbit quantize --weights int4 (MatMulNBits), or lowbit float16' }]
}

/** onnxruntime-web's CPU kernels take no ConvInteger with int8 weights. */
export function convInteger(context: DoctorContext): Finding[] {
  if (!context.goesTo('onnxruntime-web')) return []
  const found = context.ofType('ConvInteger').filter((node) => context.types.get(node.input[1] ?? '') === 'int8')
  return found.length === 0 ? [] : [{ rule: 'conv-integer', severity: 'error', where: found.map(nodeName), found: `${found.length} ConvInteger with int8 weights: onnxruntime has no kernel, the model does not load`, cure: 'lowbit quantize stores them as uint8; --set weightStorage=uint8' }]
}

/** Files that no browser can hold, and data that a message cannot. */
export function over2gb(context: DoctorContext): Finding[] {
  if (context.size < LARGEST_BUFFER) return []
  return [{ rule: 'over-2-gb', severity: context.goesTo('onnxruntime-web') ? 'warning' : 'hint', where: [], found: `${(context.size / 1e9).toFixed(1)} GB: browsers take 2 GB a file`, cure: 'lowbit publish writes chunks below 2 GB' }]
}

/** Q and DQ that ONNX Runtime will not turn into an integer operator: the model computes in float, and slower than without them. */
export function unfusedPairs(context: DoctorContext): Finding[] {
  if (!(context.goesTo('onnxruntime') || context.goesTo('onnxruntime-web'))) return []
  const { graph } = context
  const isDequantized = (name: string): boolean => graph.producer(name)?.opType === 'DequantizeLinear'
  const weightOnly: NodeProto[] = []
  const noOutput: NodeProto[] = []
  const axis: NodeProto[] = []
  for (const node of context.ofType('Conv', 'MatMul', 'Gemm')) {
    const [data = '', weight = ''] = node.input
    if (!isDequantized(data) || !isDequantized(weight)) {
      if (isDequantized(weight) && graph.constant(graph.producer(weight)?.input[0] ?? '') !== undefined && !isDequantized(data) && quantizesActivations(context)) weightOnly.push(node)
      continue
    }
    const after = graph.consumers(node.output[0] ?? '')
    const last = after.length === 1 && ['Relu', 'Clip'].includes(after[0]?.opType ?? '') ? graph.consumers(after[0]?.output[0] ?? '') : after
    if (node.opType === 'Conv' && !last.some((reader) => reader.opType === 'QuantizeLinear')) noOutput.push(node)
    const scale = graph.constant(graph.producer(weight)?.input[1] ?? '')
    const count = scale === undefined ? 1 : scale.dims.reduce((n, d) => n * Number(d), 1)
    const along = Number(graph.producer(weight)?.attribute.find((a) => a.name === 'axis')?.i ?? 1n)
    if (count > 1 && ((node.opType === 'Conv' && along !== 0) || (node.opType === 'MatMul' && along !== 1 && along !== -1))) axis.push(node)
  }
  const finding = (where: readonly NodeProto[], found: string, cure: string): Finding[] => (where.length === 0 ? [] : [{ rule: 'qdq-not-fused', severity: 'warning', where: where.map(nodeName), found: `${where.length} ${found}`, cure }])
  return [
    ...finding(noOutput, 'convolutions have rounded inputs and a float output: ONNX Runtime computes them in float', 'quantize again: lowbit quantize -c data rounds what convolutions give'),
    ...finding(axis, 'products have scales along an axis that no integer kernel takes', 'scales belong to output channels: lowbit quantize -c data'),
    ...finding(weightOnly, 'products of a statically quantized model read float activations: only their weights are rounded', 'lowbit quantize -c data --operators all'),
  ]
}

function quantizesActivations({ nodes, graph }: DoctorContext): boolean {
  return nodes.some((node) => node.opType === 'QuantizeLinear' && graph.constant(node.input[0] ?? '') === undefined)
}

/** TensorRT takes symmetric int8 (and fp8) pairs only. */
export function tensorrt(context: DoctorContext): Finding[] {
  if (!context.isBoundFor('tensorrt')) return []
  const pairs = context.ofType('QuantizeLinear', 'DequantizeLinear')
  const types = pairs.map((node) => zeroType(context, node))
  const unsigned = pairs.filter((_, i) => types[i] !== undefined && !['int8', 'int4', 'float8e4m3fn'].includes(types[i]))
  const shifted = pairs.filter((node, i) => !unsigned.includes(node) && types[i] === 'int8' && hasZeroPoint(context, node))
  const perChannel = context.ofType('QuantizeLinear').filter((node) => context.graph.constant(node.input[0] ?? '') === undefined && scaleCount(context, node) > 1)
  const other = context.ofType(...INTEGER_OPERATORS, 'MatMulNBits')
  const finding = (where: readonly NodeProto[], found: string): Finding[] => (where.length === 0 ? [] : [{ rule: 'tensorrt', severity: 'error', where: where.map(nodeName), found: `${where.length} ${found}`, cure: 'lowbit quantize model.onnx -c data --target tensorrt' }])
  return [
    ...finding(unsigned, `pairs are ${[...new Set(types.filter((t) => t !== undefined && !['int8', 'int4', 'float8e4m3fn'].includes(t)))].join(', ')}: TensorRT takes int8, int4 blocks and fp8`),
    ...finding(shifted, 'pairs have zero points other than 0: TensorRT takes symmetric ones'),
    ...finding(perChannel, 'activations have a scale per channel: TensorRT takes one for a tensor'),
    ...finding(other, `operators (${kinds(other)}) that TensorRT does not know`),
  ]
}

function zeroType({ graph, types }: DoctorContext, node: NodeProto): string | undefined {
  const zero = graph.constant(node.input[2] ?? '')
  if (zero !== undefined) return onnxTypeOf(zero.dataType)
  return node.opType === 'DequantizeLinear' ? types.get(node.input[0] ?? '') : 'uint8'
}

function hasZeroPoint({ graph }: DoctorContext, node: NodeProto): boolean {
  const zero = graph.constant(node.input[2] ?? '')
  return zero !== undefined && (zero.rawData.some((byte) => byte !== 0) || zero.int32Data.some((value) => value !== 0))
}

function scaleCount({ graph }: DoctorContext, node: NodeProto): number {
  return graph.constant(node.input[1] ?? '')?.dims.reduce((n, d) => n * Number(d), 1) ?? 1
}

/** WebNN builds a fixed graph of few types. */
export function webnn(context: DoctorContext): Finding[] {
  if (!context.isBoundFor('webnn')) return []
  const open = context.graph.proto.input.filter(({ type }) => type?.value.case === 'tensorType' && (type.value.value.shape?.dim ?? []).some((d) => d.value.case !== 'dimValue')).map((i) => i.name)
  const wide = [...context.graph.proto.input, ...context.graph.proto.output].filter(({ name }) => ['float64', 'int64', 'uint64', 'int16', 'uint16', 'bfloat16'].includes(context.types.get(name) ?? '')).map((i) => i.name)
  const other = context.ofType('MatMulNBits', 'GroupQueryAttention', 'ConvInteger', 'MatMulInteger', 'If', 'Loop', 'Scan', 'NonZero', 'Einsum').filter((node) => node.opType !== 'Einsum')
  return [
    ...(open.length === 0 ? [] : [{ rule: 'webnn', severity: 'error', where: open, found: `${open.length} inputs have open sizes: WebNN needs fixed ones`, cure: 'pass freeDimensionOverrides to the session, or export with fixed sizes' } as const]),
    ...(wide.length === 0 ? [] : [{ rule: 'webnn', severity: 'warning', where: wide, found: `${wide.length} inputs or outputs have types that not every WebNN device takes`, cure: 'use int32 and float32 at the doors of the model' } as const]),
    ...(other.length === 0 ? [] : [{ rule: 'webnn', severity: 'warning', where: other.map(nodeName), found: `${other.length} operators (${kinds(other)}) run outside of WebNN, with copies both ways`, cure: 'for WebNN: lowbit float16, or QDQ int8' } as const]),
  ]
}

function kinds(nodes: readonly NodeProto[]): string {
  return [...new Set(nodes.map((n) => n.opType))].join(', ')
}
