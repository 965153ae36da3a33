import { isOp, type Graph as GraphView, Graph } from '../graph/index.js'
import { type Granularity, type HostTensor, quantizeLinear, tensor as hostTensor } from '@lowbit/core'
import { hostToTensor, intAttribute, isExternal, type ModelProto, type NodeProto, onnxTypeOf, type TensorProto, tensorToHost } from '@lowbit/formats'
import type { LoadTensor } from '../sites/weights.js'

/**
 * Computes the codes of fake-quantized weights. Training that knows it will be quantized exports a float weight behind QuantizeLinear and
 * DequantizeLinear; the codes that the first would make each time stand in the file afterwards, a quarter of the size.
 * @returns what was done, and the bytes that it saved
 */
export async function foldTrainedCodes(model: ModelProto, load: LoadTensor): Promise<{ readonly notes: readonly string[]; readonly saved: number }> {
  if (model.graph === undefined || !model.graph.node.some((n) => isOp(n, 'QuantizeLinear'))) return { notes: [], saved: 0 }
  const graph = new Graph(model)
  let before = 0
  let after = 0
  let count = 0
  for (const node of graph.nodes()) {
    if (!isOp(node, 'QuantizeLinear')) continue
    const stored = graph.constant(node.input[0] ?? '')
    const output = node.output[0] ?? ''
    // A code that is read as what it is has no float behind it that could be spared.
    if (stored === undefined || output === '' || graph.isOutput(output) || onnxTypeOf(stored.dataType) !== 'float32') continue
    const codes = await codesOf(graph, node, stored, load)
    if (codes === undefined) continue
    const [weight = ''] = node.input
    graph.removeNode(node)
    graph.addInitializer(hostToTensor(output, codes))
    graph.removeIfUnread(weight)
    before += codes.data.length * 4
    after += codes.data.byteLength
    count++
  }
  if (count === 0) return { notes: [], saved: 0 }
  graph.toModel()
  return { notes: [`${count} fake-quantized weights stored as the codes they were trained to be: ${before} → ${after} bytes`], saved: before - after }
}

async function codesOf(graph: GraphView, node: NodeProto, stored: TensorProto, load: LoadTensor): Promise<HostTensor | undefined> {
  const scale = floats(graph.constant(node.input[1] ?? ''))
  const zero = graph.constant(node.input[2] ?? '')
  const zeroType = zero === undefined ? 'uint8' : onnxTypeOf(zero.dataType)
  if (scale === undefined || (zeroType !== 'int8' && zeroType !== 'uint8')) return undefined
  if (zero === undefined && (node.input[2] ?? '') !== '') return undefined
  if (intAttribute(node, 'block_size', 0) !== 0 || intAttribute(node, 'output_dtype', 0) !== 0) return undefined
  const shape = stored.dims.map(Number)
  const axis = intAttribute(node, 'axis', 1)
  const granularity: Granularity = scale.length === 1 ? { kind: 'tensor' } : { kind: 'channel', axis: axis < 0 ? axis + shape.length : axis }
  if (granularity.kind === 'channel' && shape[granularity.axis] !== scale.length) return undefined
  const { data } = await load(stored)
  if (!(data instanceof Float32Array) || !data.every(Number.isFinite)) return undefined
  const zeros = zero === undefined ? new Array<number>(scale.length).fill(0) : Array.from(tensorToHost(zero).data, Number)
  const codes = quantizeLinear(hostTensor('float32', shape, data), scale, zeros, zeroType, granularity)
  return zeroType === 'int8' ? { dtype: 'int8', shape, data: Int8Array.from(codes) } : { dtype: 'uint8', shape, data: Uint8Array.from(codes) }
}

function floats(tensor: TensorProto | undefined): Float32Array | undefined {
  if (tensor === undefined || isExternal(tensor)) return undefined
  const { data } = tensorToHost(tensor)
  return data instanceof Float32Array ? data : undefined
}
