import { type Batch, toFloat16 } from '@lowbit/core'
import { float, graph, hostToTensor, model, node, type NodeProto, type TensorProto, valueInfo, writeOnnx } from '@lowbit/formats'
import { randomFloats, randomTensor } from './random.js'

export interface SmallModel {
  readonly name: string
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly batch: Batch
}

const weight = (name: string, shape: readonly number[], seed: number): TensorProto => hostToTensor(name, randomTensor(shape, seed, 0.5))
const ints = (name: string, values: readonly number[]): TensorProto => hostToTensor(name, { dtype: 'int64', shape: [values.length], data: BigInt64Array.from(values, BigInt) })
const constantNode = (tensor: TensorProto): NodeProto => node('Constant', [], [tensor.name], { value: tensor })

/** MatMul, MatMul with a bias, and Gemm with everything it has; K divides by no group size. */
export function matrices(opset = 13, irVersion = 8): SmallModel {
  const main = graph({
    nodes: [
      node('MatMul', ['x', 'w1'], ['a'], {}, '', 'first'),
      node('Add', ['a', 'b1'], ['b']),
      node('Relu', ['b'], ['c']),
      node('Gemm', ['c', 'w2', 'b2'], ['d'], { alpha: float(0.5), beta: float(2), transB: 1 }, '', 'second'),
      node('Transpose', ['d'], ['e'], { perm: [1, 0] }),
      // The bias became optional with opset 11.
      node('Gemm', opset < 11 ? ['e', 'w3', 'b3'] : ['e', 'w3'], ['f'], { transA: 1 }, '', 'third'),
      node('Gemm', ['f', 'w4', 'b4'], ['y'], {}, '', 'fourth'),
    ],
    inputs: [valueInfo('x', 'float32', ['n', 44])],
    outputs: [valueInfo('y', 'float32', ['n', 7])],
    initializers: [weight('w1', [44, 40], 1), weight('b1', [40], 2), weight('w2', [24, 40], 3), weight('b2', [24], 4), weight('w3', [24, 33], 5), ...(opset < 11 ? [weight('b3', [33], 9)] : []), weight('w4', [33, 7], 6), weight('b4', [7], 7)],
  })
  return { name: `matrices, opset ${opset}`, bytes: writeOnnx(model(main, { '': opset }, irVersion)), batch: { x: randomTensor([5, 44], 8) } }
}

/** Every kind of convolution: with pads and strides, depthwise, in groups, dilated, in one dimension, transposed. */
export function convolutions(opset = 13): SmallModel {
  const main = graph({
    nodes: [
      node('Conv', ['x', 'w1', 'b1'], ['a'], { pads: [1, 1, 1, 1], strides: [2, 2] }, '', 'plain'),
      node('Relu', ['a'], ['a1']),
      node('Conv', ['a1', 'w2'], ['b'], { group: 8, pads: [1, 1, 1, 1] }, '', 'depthwise'),
      node('Conv', ['b', 'w3', 'b3'], ['c'], { group: 2, dilations: [2, 2], pads: [2, 2, 2, 2] }, '', 'grouped'),
      node('ConvTranspose', ['c', 'w4', 'b4'], ['d'], { strides: [2, 2] }, '', 'up'),
      node('ConvTranspose', ['d', 'w5'], ['e'], { group: 2 }, '', 'upGrouped'),
      node('GlobalAveragePool', ['e'], ['f']),
      node('Reshape', ['f', 'line'], ['g']),
      node('Conv', ['g', 'w6'], ['y'], { pads: [1, 1] }, '', 'line'),
    ],
    inputs: [valueInfo('x', 'float32', ['n', 3, 9, 9])],
    outputs: [valueInfo('y', 'float32')],
    initializers: [
      weight('w1', [8, 3, 3, 3], 11), weight('b1', [8], 12), weight('w2', [8, 1, 3, 3], 13), weight('w3', [6, 4, 3, 3], 14), weight('b3', [6], 15),
      weight('w4', [6, 10, 2, 2], 16), weight('b4', [10], 17), weight('w5', [10, 3, 3, 3], 18), weight('w6', [4, 2, 3], 19), ints('line', [-1, 2, 3]),
    ],
  })
  return { name: `convolutions, opset ${opset}`, bytes: writeOnnx(model(main, { '': opset }, 8)), batch: { x: randomTensor([2, 3, 9, 9], 20) } }
}

/** An embedding whose table is the output layer too, another matrix used twice, weights in Constant nodes and behind Identity. */
export function tied(opset = 13, width = 36): SmallModel {
  const main = graph({
    nodes: [
      constantNode(weight('w1', [width, width], 22)),
      node('Gather', ['table', 'ids'], ['a'], {}, '', 'embed'),
      node('MatMul', ['a', 'w1'], ['b'], {}, '', 'once'),
      node('MatMul', ['b', 'w1'], ['c'], {}, '', 'again'),
      node('Identity', ['w2'], ['w2_same']),
      node('MatMul', ['c', 'w2_same'], ['d'], {}, '', 'identity'),
      node('Add', ['d', 'c'], ['e']),
      node('Transpose', ['table'], ['head'], { perm: [1, 0] }),
      node('MatMul', ['e', 'head'], ['y'], {}, '', 'output'),
    ],
    inputs: [valueInfo('ids', 'int64', ['n', 't'])],
    outputs: [valueInfo('y', 'float32')],
    initializers: [weight('table', [20, width], 21), weight('w2', [width, width], 23)],
  })
  return { name: `tied${width === 36 ? '' : ` ${width} wide`}, opset ${opset}`, bytes: writeOnnx(model(main, { '': opset }, 8)), batch: { ids: { dtype: 'int64', shape: [2, 3], data: BigInt64Array.of(0n, 19n, 7n, 7n, 3n, 11n) } } }
}

/** float16 throughout. */
export function halves(opset = 17): SmallModel {
  const half = (name: string, shape: readonly number[], seed: number): TensorProto => {
    const { data } = randomTensor(shape, seed, 0.3)
    return hostToTensor(name, { dtype: 'float16', shape, data: toFloat16(data) })
  }
  const main = graph({
    nodes: [node('MatMul', ['x', 'w1'], ['a'], {}, '', 'first'), node('Gemm', ['a', 'w2', 'b2'], ['y'], { transB: 1 }, '', 'second')],
    inputs: [valueInfo('x', 'float16', ['n', 48])],
    outputs: [valueInfo('y', 'float16')],
    initializers: [half('w1', [48, 32], 31), half('w2', [16, 32], 32), half('b2', [16], 33)],
  })
  return { name: `halves, opset ${opset}`, bytes: writeOnnx(model(main, { '': opset }, 8)), batch: { x: { dtype: 'float16', shape: [3, 48], data: toFloat16(randomFloats(144, 34)) } } }
}

/** Producers that a scale folds into: a decomposed RMSNorm, a LayerNormalization, a gated layer, linear layers, a Mul; and one that takes none. */
export function normed(): SmallModel {
  const scalar = (name: string, value: number): TensorProto => hostToTensor(name, { dtype: 'float32', shape: [], data: Float32Array.of(value) })
  const vector = (name: string, size: number, seed: number): TensorProto => hostToTensor(name, { dtype: 'float32', shape: [size], data: randomFloats(size, seed, 0.4).map((v) => v + 1) })
  const main = graph({
    nodes: [
      node('Pow', ['x', 'two'], ['squares']),
      node('ReduceMean', ['squares'], ['mean'], { axes: [-1] }),
      node('Add', ['mean', 'eps'], ['mean_eps']),
      node('Sqrt', ['mean_eps'], ['root']),
      node('Div', ['x', 'root'], ['unit']),
      node('Mul', ['unit', 'gain'], ['rms']),
      node('MatMul', ['rms', 'wq'], ['q'], {}, '', 'model/layers.0/q'),
      node('MatMul', ['rms', 'wk'], ['k'], {}, '', 'model/layers.0/k'),
      node('Sigmoid', ['q'], ['gate']),
      node('Mul', ['gate', 'k'], ['gated']),
      node('MatMul', ['gated', 'wo'], ['o'], {}, '', 'model/layers.0/o'),
      node('Add', ['x', 'o'], ['residual']),
      node('LayerNormalization', ['residual', 'ln_gain', 'ln_bias'], ['ln']),
      node('Gemm', ['ln', 'w1', 'b1'], ['h'], { transB: 1 }, '', 'model/layers.1/fc1'),
      node('Relu', ['h'], ['relu']),
      node('MatMul', ['relu', 'w2'], ['h2'], {}, '', 'model/layers.1/fc2'),
      node('Add', ['h2', 'b2'], ['h3']),
      node('MatMul', ['h3', 'w3'], ['h4'], {}, '', 'model/layers.1/fc3'),
      node('Tanh', ['h4'], ['h5']),
      node('MatMul', ['h5', 'w4'], ['h6'], {}, '', 'model/head'),
      node('Sin', ['h6'], ['h7']),
      node('Mul', ['h7', 'factor'], ['h8']),
      node('MatMul', ['h8', 'w5'], ['y'], {}, '', 'model/last'),
    ],
    inputs: [valueInfo('x', 'float32', ['n', 16])],
    outputs: [valueInfo('y', 'float32')],
    initializers: [
      scalar('two', 2), scalar('eps', 1e-5), vector('gain', 16, 41), weight('wq', [16, 32], 42), weight('wk', [16, 32], 43), weight('wo', [32, 16], 44),
      vector('ln_gain', 16, 45), weight('ln_bias', [16], 46), weight('w1', [32, 16], 47), weight('b1', [32], 48), weight('w2', [32, 16], 49), weight('b2', [16], 50),
      weight('w3', [16, 16], 51), weight('w4', [16, 8], 52), vector('factor', 8, 54), weight('w5', [8, 8], 55),
    ],
  })
  return { name: 'normed', bytes: writeOnnx(model(main, { '': 17 }, 8)), batch: { x: randomTensor([6, 16], 53) } }
}
