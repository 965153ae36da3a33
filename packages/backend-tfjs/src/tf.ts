import type * as core from '@tensorflow/tfjs-core'
import type * as layers from '@tensorflow/tfjs-layers'

export type Tensor = core.Tensor
export type LayersModel = layers.LayersModel
export type Layer = layers.layers.Layer

/**
 * What this package needs of TensorFlow.js core. Pass the module that you loaded: `import * as tf from '@tensorflow/tfjs'`
 * fits. In Node, load the CommonJS build (`createRequire(import.meta.url)('@tensorflow/tfjs')`).
 */
export type TfCore = Pick<
  typeof core,
  | 'abs' | 'add' | 'backend' | 'backend_util' | 'cast' | 'clone' | 'concat' | 'cos' | 'conv2d' | 'conv2dTranspose' | 'customGrad' | 'depthwiseConv2d' | 'dispose' | 'div' | 'engine' | 'env' | 'exp'
  | 'expandDims' | 'fill' | 'gather' | 'getBackend' | 'getGradient' | 'getKernel' | 'getKernelsForBackend' | 'equal' | 'lessEqual' | 'greater' | 'greaterEqual' | 'io' | 'keep' | 'log' | 'matMul'
  | 'max' | 'maximum' | 'mean' | 'memory' | 'min' | 'minimum' | 'mul' | 'neg' | 'pad' | 'range' | 'ready' | 'registerGradient' | 'unregisterGradient' | 'registerKernel' | 'reshape' | 'round' | 'scalar' | 'sign' | 'sin'
  | 'slice' | 'softmax' | 'sqrt' | 'square' | 'sub' | 'sum' | 'tanh' | 'tensor' | 'tensor1d' | 'tidy' | 'tile' | 'transpose' | 'unregisterKernel' | 'unsortedSegmentSum' | 'valueAndGrads' | 'variable' | 'where' | 'zeros' | 'zerosLike'
>

/** What model hosting and training need besides: the layers API. */
export type Tf = TfCore & Pick<typeof layers, 'loadLayersModel'>
