import { LowbitError } from '@lowbit/core'
import { float } from '@lowbit/formats'
import { activationName } from '../layers/batch-norm.js'
import { layerVariable, numbers, setting } from '../layers/layer-variable.js'
import type { Layer } from '../tf.js'
import { writeActivation } from './activation.js'
import type { Converter, LayerCall, OnnxContext } from './context.js'

const same: Converter = (_, { inputs }) => inputs[0]

const binary = (type: string): Converter => ({ writer }, { layer, inputs }) => inputs.slice(1).reduce((sum, x) => writer.op(type, layer.name, [sum, x]), inputs[0])

const variadic = (type: string): Converter => ({ writer }, { layer, inputs }) => writer.op(type, layer.name, inputs)

function values(layer: Layer, name: string, size: number, fallback: number): Float32Array {
  const variable = layerVariable(layer, name)
  return variable === undefined ? new Float32Array(size).fill(fallback) : Float32Array.from(variable.read().dataSync<'float32'>())
}

const batchNormalization: Converter = ({ writer, norms }, { layer, inputs, shapes }) => {
  const axis = Number(setting(layer, 'axis'))
  const rank = shapes[0].length
  const at = axis < 0 ? axis + rank : axis
  const size = Number(shapes[0][at])
  const over = norms.get(layer)
  const gamma = over?.gamma ?? values(layer, 'gamma', size, 1)
  const beta = over?.beta ?? values(layer, 'beta', size, 0)
  const mean = values(layer, 'movingMean', size, 0)
  const variance = values(layer, 'movingVariance', size, 1)
  const epsilon = Number(setting(layer, 'epsilon'))
  const factor = gamma.map((g, i) => g / Math.sqrt(variance[i] + epsilon))
  const shape = [size, ...Array.from({ length: rank - 1 - at }, () => 1)]
  const scaled = writer.op('Mul', `${layer.name}/scaled`, [inputs[0], writer.floats(`${layer.name}/factor`, factor, shape)])
  return writer.op('Add', layer.name, [scaled, writer.floats(`${layer.name}/shift`, beta.map((b, i) => b - mean[i] * factor[i]), shape)])
}

const layerNormalization: Converter = ({ writer, norms }, { layer, inputs, shapes }) => {
  const axis = setting(layer, 'axis')
  const rank = shapes[0].length
  const list = (Array.isArray(axis) ? axis.map(Number) : [Number(axis)]).map((a) => (a < 0 ? a + rank : a))
  const first = Math.min(...list)
  if (list.length !== rank - first) throw unsupported(layer, `normalization over axes ${list.join(', ')}`, 'the last axes')
  const shape = shapes[0].slice(first).map((s) => s ?? 1)
  const size = shape.reduce((a, b) => a * b, 1)
  const over = norms.get(layer)
  const gamma = writer.floats(`${layer.name}/gamma`, over?.gamma ?? values(layer, 'gamma', size, 1), shape)
  const beta = writer.floats(`${layer.name}/beta`, over?.beta ?? values(layer, 'beta', size, 0), shape)
  return writer.op('LayerNormalization', layer.name, [inputs[0], gamma, beta], { axis: first, epsilon: float(Number(setting(layer, 'epsilon'))) })
}

const relu: Converter = ({ writer }, { layer, inputs }) => {
  const max = setting(layer, 'maxValue')
  if (typeof max !== 'number') return writer.op('Relu', layer.name, inputs)
  return writer.op('Clip', layer.name, [inputs[0], writer.scalar(`${layer.name}_min`, 0), writer.scalar(`${layer.name}_max`, max)])
}

const pooling = (type: 'MaxPool' | 'AveragePool', spatial: 1 | 2): Converter => ({ writer }, { layer, inputs }) => {
  const kernel = numbers(layer, 'poolSize', spatial, 2)
  const strides = numbers(layer, 'strides', spatial, kernel[0])
  const rank = spatial + 2
  const inner = Array.from({ length: spatial }, (_, i) => i)
  const x = writer.op('Transpose', `${layer.name}/nchw`, inputs, { perm: [0, rank - 1, ...inner.map((i) => i + 1)] })
  const y = writer.op(type, `${layer.name}/pool`, [x], { kernel_shape: kernel, strides, auto_pad: setting(layer, 'padding') === 'same' ? 'SAME_UPPER' : 'VALID' })
  return writer.op('Transpose', layer.name, [y], { perm: [0, ...inner.map((i) => i + 2), 1] })
}

const globalPooling = (type: 'ReduceMean' | 'ReduceMax'): Converter => ({ writer }, { layer, inputs, shapes }) =>
  writer.op(type, layer.name, [inputs[0], writer.integers(`${layer.name}_axes`, shapes[0].slice(1, -1).map((_, i) => i + 1))], { keepdims: 0 })

const reshape: Converter = ({ writer }, { layer, inputs }) => {
  const target = setting(layer, 'targetShape')
  return writer.op('Reshape', layer.name, [inputs[0], writer.integers(`${layer.name}_shape`, [0, ...(Array.isArray(target) ? target.map((s) => (s === null ? -1 : Number(s))) : [-1])])])
}

const permute: Converter = ({ writer }, { layer, inputs }) => {
  const dims = setting(layer, 'dims')
  return writer.op('Transpose', layer.name, inputs, { perm: [0, ...(Array.isArray(dims) ? dims.map(Number) : [])] })
}

const zeroPadding: Converter = ({ writer }, { layer, inputs }) => {
  const padding = setting(layer, 'padding')
  const [[top, bottom], [left, right]] = Array.isArray(padding) ? padding.map((p) => (Array.isArray(p) ? p.map(Number) : [Number(p), Number(p)])) : [[1, 1], [1, 1]]
  return writer.op('Pad', layer.name, [inputs[0], writer.integers(`${layer.name}_pads`, [0, top, left, 0, 0, bottom, right, 0])])
}

const upSampling: Converter = ({ writer }, { layer, inputs }) => {
  const [y, x] = numbers(layer, 'size', 2, 2)
  if (setting(layer, 'interpolation') === 'bilinear') throw unsupported(layer, 'bilinear interpolation', 'nearest')
  return writer.op('Resize', layer.name, [inputs[0], '', writer.floats(`${layer.name}_scales`, [1, y, x, 1])], { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' })
}

const prelu: Converter = ({ writer }, { layer, inputs }) => {
  const alpha = layerVariable(layer, 'alpha')
  if (alpha === undefined) throw unsupported(layer, 'no slope', 'a built layer')
  return writer.op('PRelu', layer.name, [inputs[0], writer.floats(`${layer.name}/alpha`, Float32Array.from(alpha.read().dataSync<'float32'>()), alpha.shape)])
}

function unsupported(layer: Layer, found: string, expected: string): LowbitError {
  return new LowbitError('LOWBIT_UNSUPPORTED', { thing: `layer '${layer.name}' (${layer.getClassName()})`, found, expected, fix: 'emit the layers format, or change the layer' })
}

const mean: Converter = ({ writer }, { layer, inputs }) => {
  const total = inputs.slice(1).reduce((s, x) => writer.op('Add', `${layer.name}/sum`, [s, x]), inputs[0])
  return writer.op('Div', layer.name, [total, writer.scalar(`${layer.name}_count`, inputs.length)])
}

export const PLAIN: Readonly<Record<string, Converter>> = {
  Activation: ({ writer }: OnnxContext, { layer, inputs }: LayerCall) => writeActivation(writer, activationName(layer), inputs[0], layer.name),
  ReLU: relu,
  LeakyReLU: ({ writer }, { layer, inputs }) => writer.op('LeakyRelu', layer.name, inputs, { alpha: float(Number(setting(layer, 'alpha'))) }),
  ELU: ({ writer }, { layer, inputs }) => writer.op('Elu', layer.name, inputs, { alpha: float(Number(setting(layer, 'alpha'))) }),
  ThresholdedReLU: ({ writer }, { layer, inputs }) => writer.op('ThresholdedRelu', layer.name, inputs, { alpha: float(Number(setting(layer, 'theta'))) }),
  Softmax: ({ writer }, { layer, inputs }) => writer.op('Softmax', layer.name, inputs, { axis: Number(setting(layer, 'axis')) }),
  PReLU: prelu,
  BatchNormalization: batchNormalization,
  LayerNormalization: layerNormalization,
  MaxPooling1D: pooling('MaxPool', 1),
  MaxPooling2D: pooling('MaxPool', 2),
  AveragePooling1D: pooling('AveragePool', 1),
  AveragePooling2D: pooling('AveragePool', 2),
  GlobalAveragePooling1D: globalPooling('ReduceMean'),
  GlobalAveragePooling2D: globalPooling('ReduceMean'),
  GlobalMaxPooling1D: globalPooling('ReduceMax'),
  GlobalMaxPooling2D: globalPooling('ReduceMax'),
  Flatten: ({ writer }, { layer, inputs }) => writer.op('Flatten', layer.name, inputs, { axis: 1 }),
  Reshape: reshape,
  Permute: permute,
  ZeroPadding2D: zeroPadding,
  UpSampling2D: upSampling,
  Dropout: same,
  SpatialDropout1D: same,
  GaussianNoise: same,
  GaussianDropout: same,
  AlphaDropout: same,
  Add: binary('Add'),
  Multiply: binary('Mul'),
  Average: mean,
  Maximum: variadic('Max'),
  Minimum: variadic('Min'),
  Concatenate: ({ writer }, { layer, inputs }) => writer.op('Concat', layer.name, inputs, { axis: Number(setting(layer, 'axis')) }),
}
