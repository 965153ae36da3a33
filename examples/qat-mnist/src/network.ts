import type { LayersModel } from '@tensorflow/tfjs-layers'
import type { Tf } from './load-tf.js'

/** conv 3×3×16, conv 3×3×32, dense 64, dense 10. With `batchNorm`, one after each layer: binary weights from scratch want it. */
export function network(tf: Tf, seed: number, batchNorm = false): LayersModel {
  const init = (i: number) => tf.initializers.glorotUniform({ seed: seed * 100 + i })
  const model = tf.sequential()
  const normed = (layer: Parameters<typeof model.add>[0], name: string): void => {
    model.add(layer)
    if (batchNorm) model.add(tf.layers.batchNormalization({ name: `${name}_norm`, momentum: 0.9 }))
  }
  normed(tf.layers.conv2d({ name: 'conv1', inputShape: [28, 28, 1], filters: 16, kernelSize: 3, kernelInitializer: init(1) }), 'conv1')
  model.add(tf.layers.reLU({ name: 'conv1_relu' }))
  model.add(tf.layers.maxPooling2d({ name: 'pool1', poolSize: 2 }))
  normed(tf.layers.conv2d({ name: 'conv2', filters: 32, kernelSize: 3, kernelInitializer: init(2) }), 'conv2')
  model.add(tf.layers.reLU({ name: 'conv2_relu' }))
  model.add(tf.layers.maxPooling2d({ name: 'pool2', poolSize: 2 }))
  model.add(tf.layers.flatten({ name: 'flatten' }))
  normed(tf.layers.dense({ name: 'dense1', units: 64, kernelInitializer: init(3) }), 'dense1')
  model.add(tf.layers.reLU({ name: 'dense1_relu' }))
  normed(tf.layers.dense({ name: 'dense2', units: 10, kernelInitializer: init(4) }), 'dense2')
  return model
}
