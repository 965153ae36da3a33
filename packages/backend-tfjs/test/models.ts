import type { LayersModel, SymbolicTensor } from '@tensorflow/tfjs-layers'
import { tf } from './load-tf.js'

/** Fixed, uneven weights: two builds of a model are the same model. */
function fill(model: LayersModel): LayersModel {
  for (const [l, layer] of model.layers.entries()) {
    const weights = layer.weights
    layer.setWeights(
      weights.map((w, k) => {
        const shape = w.shape.map((s) => s ?? 1)
        const size = shape.reduce((a, b) => a * b, 1)
        const spread = 1.6 / Math.sqrt(size / (shape.at(-1) ?? 1))
        const norm = /gamma|variance/.test(w.originalName)
        return tf.tensor(Float32Array.from({ length: size }, (_, i) => (norm ? 1 + 0.5 * Math.sin(i + l) : spread * Math.sin(i * 1.37 + l * 3 + k) + 0.02 * ((i * 31) % 7))), shape)
      }),
    )
  }
  return model
}

const next = (x: unknown): SymbolicTensor => x as SymbolicTensor

/** Every kind of site, with a BatchNorm after a convolution without bias. */
export function everyLayer(): LayersModel {
  const input = tf.input({ shape: [8, 8, 3], name: 'image' })
  let x = next(tf.layers.conv2d({ filters: 6, kernelSize: 3, useBias: false, name: 'conv' }).apply(input))
  x = next(tf.layers.batchNormalization({ name: 'norm' }).apply(x))
  x = next(tf.layers.reLU({ name: 'relu' }).apply(x))
  x = next(tf.layers.depthwiseConv2d({ kernelSize: 3, padding: 'same', strides: 2, depthMultiplier: 2, name: 'depth' }).apply(x))
  x = next(tf.layers.separableConv2d({ filters: 5, kernelSize: 2, activation: 'relu', name: 'separable' }).apply(x))
  x = next(tf.layers.conv2dTranspose({ filters: 4, kernelSize: 3, strides: 2, padding: 'same', name: 'up' }).apply(x))
  x = next(tf.layers.maxPooling2d({ poolSize: 2, strides: 1, padding: 'same', name: 'pool' }).apply(x))
  x = next(tf.layers.reshape({ targetShape: [16, 4], name: 'line' }).apply(x))
  x = next(tf.layers.conv1d({ filters: 4, kernelSize: 3, padding: 'same', name: 'conv1d' }).apply(x))
  x = next(tf.layers.flatten({ name: 'flat' }).apply(x))
  x = next(tf.layers.dense({ units: 32, activation: 'relu', name: 'hidden' }).apply(x))
  x = next(tf.layers.dense({ units: 3, name: 'out' }).apply(x))
  return fill(tf.model({ inputs: input, outputs: x, name: 'every' }))
}

/** Two layers that read one LayerNorm, a sum, a concatenation, a layer without bias. */
export function branches(): LayersModel {
  const input = tf.input({ shape: [10], name: 'vector' })
  let x = next(tf.layers.dense({ units: 8, name: 'first' }).apply(input))
  x = next(tf.layers.layerNormalization({ name: 'norm' }).apply(x))
  const a = next(tf.layers.dense({ units: 8, useBias: false, activation: 'tanh', name: 'left' }).apply(x))
  const b = next(tf.layers.dense({ units: 8, name: 'right' }).apply(x))
  const sum = next(tf.layers.add({ name: 'sum' }).apply([a, b]))
  const both = next(tf.layers.concatenate({ name: 'both' }).apply([sum, a]))
  return fill(tf.model({ inputs: input, outputs: next(tf.layers.dense({ units: 4, name: 'out' }).apply(both)), name: 'branches' }))
}

export function tokens(): LayersModel {
  return fill(
    tf.sequential({
      layers: [
        tf.layers.embedding({ inputDim: 12, outputDim: 16, inputLength: 6, name: 'table' }),
        tf.layers.dense({ units: 16, activation: 'relu', name: 'mix' }),
        tf.layers.globalAveragePooling1d({ name: 'mean' }),
        tf.layers.dense({ units: 5, name: 'out' }),
      ],
    }),
  )
}
