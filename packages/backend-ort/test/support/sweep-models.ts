import { type Batch, fromFloat16, type HostTensor, toFloat16 } from '@lowbit/core'
import { float, graph, hostToTensor, model, node, type NodeProto, type TensorProto, valueInfo, writeOnnx } from '@lowbit/formats'
import { randomFloats } from './random.js'

export type SweepType = 'float32' | 'float16'

export interface SweepModel {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly batches: readonly Batch[]
}

/** Tensors of one float type, with values that both types hold. */
class Maker {
  readonly type: SweepType

  constructor(type: SweepType) {
    this.type = type
  }

  host(shape: readonly number[], seed: number, scale = 1): HostTensor {
    const bits = toFloat16(randomFloats(shape.reduce((a, b) => a * b, 1), seed, scale))
    return this.type === 'float16' ? { dtype: 'float16', shape, data: bits } : { dtype: 'float32', shape, data: fromFloat16(bits) }
  }

  weight(name: string, shape: readonly number[], seed: number, scale = 0.2): TensorProto {
    return hostToTensor(name, this.host(shape, seed, scale))
  }
}

const ints = (name: string, values: readonly number[]): TensorProto => hostToTensor(name, { dtype: 'int64', shape: [values.length], data: BigInt64Array.from(values, BigInt) })

const written = (main: ReturnType<typeof graph>, opset: number): Uint8Array<ArrayBuffer> => writeOnnx(model(main, { '': opset }, opset < 21 ? 8 : 10))

/** Operators between products whose form changed over the opsets: each in the form that the opset has. */
function changing(opset: number, from: string, to: string): { readonly nodes: readonly NodeProto[]; readonly initializers: readonly TensorProto[] } {
  const axes = (name: string, op: string, input: string, output: string, values: readonly number[], since: number, rest: Readonly<Record<string, number>> = {}): { nodes: NodeProto[]; initializers: TensorProto[] } =>
    opset < since ? { nodes: [node(op, [input], [output], { axes: [...values], ...rest })], initializers: [] } : { nodes: [node(op, [input, name], [output], rest)], initializers: [ints(name, values)] }
  const un = axes('axes_un', 'Unsqueeze', from, 'c1', [1], 13)
  const mean = axes('axes_mean', 'ReduceMean', 'c1', 'c2', [1], 18, { keepdims: 1 })
  const sq = axes('axes_sq', 'Squeeze', 'c2', 'c3', [1], 13)
  const parts = opset < 13 ? [node('Split', ['c3'], ['c4', 'c5'], { axis: 1, split: [32, 32] })] : [node('Split', ['c3', 'halves'], ['c4', 'c5'], { axis: 1 })]
  return {
    nodes: [...un.nodes, ...mean.nodes, ...sq.nodes, ...parts, node('Concat', ['c5', 'c4'], [to], { axis: 1 })],
    initializers: [...un.initializers, ...mean.initializers, ...sq.initializers, ...(opset < 13 ? [] : [ints('halves', [32, 32])])],
  }
}

/** Products, a lookup, a recurrent layer, a branch with a weight of its own, and a weight that two operators read. */
export function sequences(opset: number, type: SweepType): SweepModel {
  const make = new Maker(type)
  const moved = changing(opset, 'h', 'm')
  const inner = graph({ nodes: [node('MatMul', ['s', 'wb'], ['t'])], inputs: [], outputs: [valueInfo('t', type)], initializers: [make.weight('wb', [64, 48], 5)] })
  const other = graph({ nodes: [node('MatMul', ['m', 'wc'], ['e'])], inputs: [], outputs: [valueInfo('e', type)], initializers: [] })
  const main = graph({
    nodes: [
      node('Gather', ['table', 'i'], ['g'], {}, '', 'lookup'), node('Add', ['g', 'x'], ['a']), node('MatMul', ['a', 'w1'], ['b'], {}, '', 'first'), node('Relu', ['b'], ['r']),
      node('Gemm', ['r', 'w2', 'bias'], ['h'], { transB: 1 }, '', 'second'), ...moved.nodes, node('Softmax', ['m'], ['p'], { axis: 1 }), node('Sigmoid', ['m'], ['q']), node('Add', ['p', 'q'], ['s']),
      node('If', ['flag'], ['u'], { then_branch: inner, else_branch: other }, '', 'choice'), node('MatMul', ['s', 'wc'], ['v'], {}, '', 'shared'),
      node('Reshape', ['v', 'line'], ['l']), node('LSTM', ['l', 'W', 'R'], ['', 'z'], { hidden_size: 32 }, '', 'lstm'),
    ],
    inputs: [valueInfo('i', 'int64', [6]), valueInfo('x', type, [6, 64])],
    outputs: [valueInfo('u', type), valueInfo('z', type)],
    initializers: [
      make.weight('table', [40, 64], 1), make.weight('w1', [64, 64], 2), make.weight('w2', [64, 64], 3), make.weight('bias', [64], 4), ...moved.initializers, make.weight('wc', [64, 48], 6),
      hostToTensor('flag', { dtype: 'bool', shape: [], data: Uint8Array.of(1) }), ints('line', [6, 1, 48]), make.weight('W', [1, 128, 48], 7), make.weight('R', [1, 128, 32], 8),
    ],
  })
  const batches = [1, 2].map((s) => ({ i: { dtype: 'int64' as const, shape: [6], data: BigInt64Array.from([1, 5, 9, 13, 2, 39], BigInt) }, x: make.host([6, 64], 20 + s) }))
  return { bytes: written(main, opset), batches }
}

/** Convolutions of every sort with what stands between them. */
export function pictures(opset: number, type: SweepType): SweepModel {
  const make = new Maker(type)
  const limits = type === 'float16' ? toFloat16(Float32Array.of(0, 6)) : Float32Array.of(0, 6)
  const limit = (name: string, at: number): TensorProto => hostToTensor(name, { dtype: type, shape: [], data: limits.slice(at, at + 1) } as HostTensor)
  const clip = opset < 11 ? [node('Clip', ['n'], ['c'], { min: float(0), max: float(6) })] : [node('Clip', ['n', 'low', 'high'], ['c'])]
  const pad = opset < 11 ? [node('Pad', ['c'], ['d'], { pads: [0, 0, 1, 1, 0, 0, 1, 1] })] : [node('Pad', ['c', 'pads'], ['d'])]
  const main = graph({
    nodes: [
      node('Conv', ['x', 'k1', 'b1'], ['a'], { pads: [1, 1, 1, 1] }, '', 'conv'), node('BatchNormalization', ['a', 'gain', 'shift', 'mean', 'spread'], ['n']), ...clip, ...pad,
      node('Conv', ['d', 'k2'], ['e'], { group: 16 }, '', 'depthwise'), node('MaxPool', ['e'], ['f'], { kernel_shape: [2, 2], strides: [2, 2] }), node('Conv', ['f', 'k3'], ['o'], {}, '', 'point'),
      node('LeakyRelu', ['o'], ['q']), node('ConvTranspose', ['q', 'k4'], ['t'], { strides: [2, 2] }, '', 'up'), node('GlobalAveragePool', ['t'], ['v']), node('Flatten', ['v'], ['w']),
      node('MatMul', ['w', 'head'], ['y'], {}, '', 'head'),
    ],
    inputs: [valueInfo('x', type, [2, 8, 6, 6])],
    outputs: [valueInfo('y', type)],
    initializers: [
      make.weight('k1', [16, 8, 3, 3], 1), make.weight('b1', [16], 2), make.weight('gain', [16], 3, 0.3), make.weight('shift', [16], 4), make.weight('mean', [16], 5),
      hostToTensor('spread', type === 'float16' ? { dtype: type, shape: [16], data: toFloat16(new Float32Array(16).fill(0.5)) } : { dtype: type, shape: [16], data: new Float32Array(16).fill(0.5) }),
      ...(opset < 11 ? [] : [limit('low', 0), limit('high', 1), ints('pads', [0, 0, 1, 1, 0, 0, 1, 1])]),
      make.weight('k2', [16, 1, 3, 3], 6), make.weight('k3', [64, 16, 1, 1], 7), make.weight('k4', [64, 48, 2, 2], 8), make.weight('head', [48, 96], 9),
    ],
  })
  return { bytes: written(main, opset), batches: [1, 2].map((s) => ({ x: make.host([2, 8, 6, 6], 30 + s) })) }
}
