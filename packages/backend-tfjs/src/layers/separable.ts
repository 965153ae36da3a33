import type { Tensor4D } from '@tensorflow/tfjs-core'
import type { Layer, Tensor, TfCore } from '../tf.js'
import { layerVariable, numbers, setting } from './layer-variable.js'
import type { Replaced } from './call.js'

/**
 * A SeparableConv2D in its two steps, so that what lies between them can be seen and quantized.
 * @param between gets the depthwise output and gives what the pointwise convolution reads.
 */
export function separableConv2D(tf: TfCore, layer: Layer, x: Tensor, replaced: Replaced, between: (x: Tensor) => Tensor): Tensor {
  const kernel = (name: string): Tensor => replaced[name] ?? layerVariable(layer, name)?.read() ?? tf.scalar(0)
  const [sy, sx] = numbers(layer, 'strides', 2, 1)
  const [dy, dx] = numbers(layer, 'dilationRate', 2, 1)
  const pad = setting(layer, 'padding') === 'same' ? 'same' : 'valid'
  const middle = between(tf.depthwiseConv2d<Tensor4D>(x as Tensor4D, kernel('depthwiseKernel') as Tensor4D, [sy, sx], pad, 'NHWC', [dy, dx]))
  const y = tf.conv2d<Tensor4D>(middle as Tensor4D, kernel('pointwiseKernel') as Tensor4D, 1, 'valid')
  const bias = replaced['bias'] ?? layerVariable(layer, 'bias')?.read()
  return activate(layer, bias === undefined ? y : tf.add(y, bias))
}



function activate(layer: Layer, x: Tensor): Tensor {
  const activation: unknown = setting(layer, 'activation')
  if (typeof activation !== 'object' || activation === null || !('apply' in activation) || typeof activation.apply !== 'function') return x
  const method: unknown = activation.apply
  const y: unknown = typeof method === 'function' ? Reflect.apply(method, activation, [x]) : x
  return isTensor(y) ? y : x
}

function isTensor(value: unknown): value is Tensor {
  return typeof value === 'object' && value !== null && 'dataId' in value && 'shape' in value
}
