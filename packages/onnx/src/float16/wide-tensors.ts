import { LARGEST_HALF } from '@lowbit/core'
import type { NodeProto, OnnxType } from '@lowbit/formats'
import { type Graph, isOp } from '../graph/index.js'
import { shieldedTensors } from '../static/masks.js'

/** Measured values keep this factor below it: other data may reach further. */
const HEADROOM = 2

/** Smallest and largest value that a tensor had on calibration data. */
export interface TensorRange {
  readonly min: number
  readonly max: number
}

/** Operators whose results grow past float16 from inputs that fit. */
const GROWING = ['CumSum', 'Exp', 'Pow', 'Range', 'ReduceL1', 'ReduceL2', 'ReduceSum', 'ReduceSumSquare']

/** Operators whose results are small whatever goes in, or that are taken to be normalized by training: products, norms. */
const BOUNDING = [
  'ArgMax', 'ArgMin', 'BatchNormalization', 'Clip', 'Conv', 'ConvTranspose', 'Cos', 'Erf', 'GRU', 'Gemm', 'GroupNormalization', 'HardSigmoid', 'InstanceNormalization', 'LSTM',
  'LayerNormalization', 'Log', 'LogSoftmax', 'MatMul', 'RNN', 'Reciprocal', 'ReduceLogSumExp', 'Sigmoid', 'Sign', 'SimplifiedLayerNormalization', 'Sin', 'Softmax', 'Softsign', 'Sqrt', 'Tanh',
]

/**
 * Tensors whose values float16 cannot hold: measured, or without a measurement what squares, exponentials, long sums and whole numbers
 * make, up to the operator that brings them back (the root of a variance). What masks add is no value: it may saturate.
 */
export function wideTensors(graph: Graph, types: ReadonlyMap<string, OnnxType>, ranges: ReadonlyMap<string, TensorRange> = new Map()): ReadonlySet<string> {
  const masked = shieldedTensors(graph)
  const wide = new Set<string>()
  for (const node of graph.sort()) {
    const grown = isGrowing(graph, node, types) || (!BOUNDING.includes(node.opType) && carriers(node).some((name) => wide.has(name)))
    for (const name of node.output) {
      if (types.get(name) !== 'float32') continue
      const range = ranges.get(name)
      if (range === undefined ? grown && !masked.has(name) : !fits(range, masked.has(name))) wide.add(name)
    }
  }
  for (const { name } of graph.proto.input) {
    const range = ranges.get(name)
    if (range !== undefined && !fits(range, masked.has(name))) wide.add(name)
  }
  return wide
}

function fits({ min, max }: TensorRange, masked: boolean): boolean {
  return max * HEADROOM <= LARGEST_HALF && (masked || min * HEADROOM >= -LARGEST_HALF)
}

function isGrowing(graph: Graph, node: NodeProto, types: ReadonlyMap<string, OnnxType>): boolean {
  if (GROWING.some((op) => isOp(node, op))) return true
  if (isOp(node, 'Mul')) return node.input[0] === node.input[1]
  const from = types.get(node.input[0] ?? '')
  return isOp(node, 'Cast') && from !== undefined && /^u?int(16|32|64)$/.test(from) && !isFlag(graph, node.input[0] ?? '', types)
}

/** True for whole numbers that are 0 or 1: truth values that went through a Cast, and what is built of them by moving. */
function isFlag(graph: Graph, name: string, types: ReadonlyMap<string, OnnxType>): boolean {
  const node = graph.producer(name)
  if (node === undefined) return false
  if (isOp(node, 'OneHot')) return true
  if (isOp(node, 'Cast')) return types.get(node.input[0] ?? '') === 'bool' || isFlag(graph, node.input[0] ?? '', types)
  return ['Reshape', 'Squeeze', 'Transpose', 'Unsqueeze'].some((op) => isOp(node, op)) && isFlag(graph, node.input[0] ?? '', types)
}

/** Inputs that make the output large where they are: not what is divided by. */
function carriers(node: NodeProto): readonly string[] {
  return isOp(node, 'Div') ? node.input.slice(0, 1) : node.input
}
