import type { HostTensor } from '@lowbit/core'
import { floatAttribute, hostToTensor, intAttribute, type NodeProto, tensorToHost } from '@lowbit/formats'
import { type Graph, isOp } from '../graph/index.js'

/** A change of a convolution's output, channel by channel: `y · scale + shift`. */
interface ChannelMap {
  readonly scale: Float64Array
  readonly shift: Float64Array
}

/**
 * Folds what follows a convolution into its weight and bias: BatchNormalization, and Mul, Div, Add, Sub with a constant a channel
 * or one for all. Integer kernels have a bias but no such operators, and a folded model quantizes what really flows.
 * @returns number of operators that are gone
 */
export function foldIntoConv(graph: Graph): number {
  let folded = 0
  for (const conv of graph.sort()) {
    if (!isOp(conv, 'Conv') && !isOp(conv, 'ConvTranspose')) continue
    while (foldNext(graph, conv)) folded++
  }
  graph.removeDead()
  return folded
}

function foldNext(graph: Graph, conv: NodeProto): boolean {
  const output = conv.output[0] ?? ''
  const [next, ...others] = graph.consumers(output)
  if (next === undefined || others.length > 0 || graph.isOutput(output) || next.input.filter((name) => name === output).length !== 1) return false
  const weight = floatConstant(graph, conv.input[1] ?? '')
  const bias = (conv.input[2] ?? '') === '' ? undefined : floatConstant(graph, conv.input[2] ?? '')
  if (weight === undefined || ((conv.input[2] ?? '') !== '' && bias === undefined)) return false
  const channels = isOp(conv, 'Conv') ? (weight.shape[0] ?? 0) : (weight.shape[1] ?? 0) * intAttribute(conv, 'group', 1)
  const map = channelMap(graph, next, output, channels, weight.shape.length)
  if (map === undefined) return false

  // The weight may be read elsewhere: what is folded gets tensors of its own.
  const newWeight = graph.addInitializer(hostToTensor(graph.freshName(`${conv.input[1] ?? 'weight'}_folded`), scaleChannels(conv, weight, map.scale)))
  const shifted = Float32Array.from(map.shift, (shift, c) => (bias?.data[c] ?? 0) * (map.scale[c] ?? 1) + shift)
  const newBias = graph.addInitializer(hostToTensor(graph.freshName(`${conv.output[0] ?? 'conv'}_bias`), { dtype: 'float32', shape: [channels], data: shifted }))
  graph.setInput(conv, 1, newWeight)
  graph.setInput(conv, 2, newBias)
  const target = next.output[0] ?? ''
  graph.removeNode(next)
  graph.removeNode(conv)
  conv.output[0] = target
  graph.addNode(conv)
  return true
}

function channelMap(graph: Graph, node: NodeProto, data: string, channels: number, rank: number): ChannelMap | undefined {
  if (isOp(node, 'BatchNormalization')) return node.input[0] === data ? batchNormMap(graph, node, channels) : undefined
  const [a = '', b = ''] = node.input
  const constantName = a === data ? b : a
  const constant = floatConstant(graph, constantName)
  const values = constant === undefined ? undefined : perChannel(constant, channels, rank)
  if (values === undefined) return undefined
  const ones = new Float64Array(channels).fill(1)
  const zeros = new Float64Array(channels)
  if (isOp(node, 'Mul')) return { scale: values, shift: zeros }
  if (isOp(node, 'Add')) return { scale: ones, shift: values }
  if (isOp(node, 'Div') && a === data && values.every((v) => v !== 0)) return { scale: values.map((v) => 1 / v), shift: zeros }
  if (isOp(node, 'Sub') && a === data) return { scale: ones, shift: values.map((v) => -v) }
  return undefined
}

/** Ioffe and Szegedy 2015, in inference: `γ (x - m) / sqrt(v + ε) + β`. */
function batchNormMap(graph: Graph, node: NodeProto, channels: number): ChannelMap | undefined {
  const [gamma, beta, mean, variance] = [1, 2, 3, 4].map((i) => floatConstant(graph, node.input[i] ?? '')?.data)
  const unusedOutputs = node.output.slice(1).every((name) => name === '' || (graph.consumers(name).length === 0 && !graph.isOutput(name)))
  if (gamma === undefined || beta === undefined || mean === undefined || variance === undefined || !unusedOutputs || gamma.length !== channels) return undefined
  if (intAttribute(node, 'training_mode', 0) !== 0 || intAttribute(node, 'spatial', 1) !== 1) return undefined
  const epsilon = floatAttribute(node, 'epsilon', 1e-5)
  const scale = Float64Array.from(gamma, (g, c) => g / Math.sqrt((variance[c] ?? 0) + epsilon))
  return { scale, shift: Float64Array.from(scale, (s, c) => (beta[c] ?? 0) - (mean[c] ?? 0) * s) }
}

/** One value a channel of a constant that broadcasts over `[batch, channels, …]`; undefined if it varies along anything else. */
function perChannel(constant: HostTensor<'float32'>, channels: number, rank: number): Float64Array | undefined {
  const { shape, data } = constant
  if (data.length === 1 && shape.length <= rank) return new Float64Array(channels).fill(data[0] ?? 0)
  if (shape.length > rank || data.length !== channels) return undefined
  const channelAxis = 1 - (rank - shape.length)
  return shape.every((size, axis) => size === (axis === channelAxis ? channels : 1)) ? Float64Array.from(data) : undefined
}

function scaleChannels(conv: NodeProto, weight: HostTensor<'float32'>, scale: Float64Array): HostTensor<'float32'> {
  const data = new Float32Array(weight.data.length)
  if (isOp(conv, 'Conv')) {
    const each = data.length / scale.length
    for (let i = 0; i < data.length; i++) data[i] = (weight.data[i] ?? 0) * (scale[Math.floor(i / each)] ?? 1)
  } else {
    // [C, M / groups, kernel…]: output channel m of the group that input channel c belongs to.
    const [inputs = 1, perGroup = 1] = weight.shape
    const kernel = data.length / (inputs * perGroup)
    const inputsPerGroup = inputs / (scale.length / perGroup)
    for (let i = 0; i < data.length; i++) {
      const c = Math.floor(i / (perGroup * kernel))
      const channel = Math.floor(c / inputsPerGroup) * perGroup + (Math.floor(i / kernel) % perGroup)
      data[i] = (weight.data[i] ?? 0) * (scale[channel] ?? 1)
    }
  }
  return { dtype: 'float32', shape: weight.shape, data }
}

function floatConstant(graph: Graph, name: string): HostTensor<'float32'> | undefined {
  const tensor = graph.constant(name)
  if (tensor === undefined) return undefined
  const { dtype, shape, data } = tensorToHost(tensor)
  return dtype === 'float32' && data instanceof Float32Array ? { dtype, shape, data } : undefined
}
