import type { Tensor } from '@tensorflow/tfjs-core'
import type { LayersModel } from '@tensorflow/tfjs-layers'
import { gather, type Digits } from './digits.js'
import type { Tf } from './load-tf.js'

export interface TrainOptions {
  readonly epochs: number
  readonly batch: number
  /** Falls along half a cosine to nothing. */
  readonly learningRate: number
  readonly seed: number
  onStep?(step: number, loss: number): void
  onEpoch?(epoch: number): void
}

/** The user's own loop: Adam, softmax cross-entropy, batches in an order that the seed decides. Nothing in it knows of quantization. */
export async function train(tf: Tf, model: LayersModel, data: Digits, options: TrainOptions): Promise<void> {
  const optimizer = tf.train.adam(options.learningRate)
  model.compile({ optimizer, loss: (labels: Tensor, logits: Tensor) => tf.losses.softmaxCrossEntropy<Tensor, Tensor>(labels, logits) })
  const order = Int32Array.from({ length: data.count }, (_, i) => i)
  const random = generator(options.seed)
  const steps = Math.floor(data.count / options.batch)
  for (let epoch = 0, step = 0; epoch < options.epochs; epoch++) {
    for (let i = order.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1))
      ;[order[i], order[j]] = [order[j], order[i]]
    }
    for (let b = 0; b < steps; b++, step++) {
      Reflect.set(optimizer, 'learningRate', (options.learningRate / 2) * (1 + Math.cos((Math.PI * step) / (options.epochs * steps))))
      const picked = order.subarray(b * options.batch, (b + 1) * options.batch)
      const x = tf.tensor(gather(data, picked), [options.batch, 28, 28, 1])
      const y = tf.tidy(() => tf.oneHot(tf.tensor1d(Array.from(picked, (i) => data.labels[i]), 'int32'), 10).toFloat())
      const loss = Number(await model.trainOnBatch(x, y))
      tf.dispose([x, y])
      options.onStep?.(step, loss)
    }
    options.onEpoch?.(epoch)
  }
  // Compiled models keep their optimizer's moments until they are disposed.
  optimizer.dispose()
}

/** Percent of the digits that the model names. */
export function accuracy(tf: Tf, model: LayersModel, data: Digits): number {
  let right = 0
  for (let start = 0; start < data.count; start += 500) {
    const size = Math.min(500, data.count - start)
    const logits = tf.tidy(() => {
      const out = model.predictOnBatch(tf.tensor(data.images.subarray(start * 784, (start + size) * 784), [size, 28, 28, 1]))
      return (Array.isArray(out) ? out[0] : out).dataSync()
    })
    right += correct(logits, data.labels.subarray(start, start + size))
  }
  return (100 * right) / data.count
}

/** How many rows of `[count, 10]` have their largest value at the label. */
export function correct(logits: ArrayLike<number>, labels: ArrayLike<number>): number {
  let right = 0
  for (let row = 0; row < labels.length; row++) {
    let best = 0
    for (let c = 1; c < 10; c++) if (logits[row * 10 + c] > logits[row * 10 + best]) best = c
    if (best === labels[row]) right++
  }
  return right
}

/** A small generator of numbers in [0, 1) (mulberry32). */
export function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
