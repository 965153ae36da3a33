import type { Ops } from '../contract/v2/training.js'
import { LowbitError } from '../errors.js'

/** BatchNorm's parameters and statistics, `[N]` each. */
export interface BatchNorm<T> {
  readonly gamma: T
  readonly beta: T
  readonly mean: T
  /** Biased where it is a batch's own, as stored where it is the running one. */
  readonly variance: T
  readonly epsilon: number
}

/** What a convolution or dense layer with BatchNorm after it is, as one layer. */
export interface Folded<T> {
  readonly weight: T
  /** `[N]`. */
  readonly bias: T
}

/**
 * Folds BatchNorm into the layer before it: weight `w · γ / sqrt(v + ε)` an output channel, bias `β + (b - m) · γ / sqrt(v + ε)`.
 * Gradients flow through all arguments; pass constants for running statistics (mode `running`), the batch's own for mode `batch`
 * (Jacob et al. 2018, section 3.2). The folded weight is what is fake-quantized.
 *
 * @param weight the matrix, `[N, K]` or `[K, N]`
 * @param channelAxis the axis of output channels in it
 * @param bias the layer's own bias `[N]`, if it has one
 */
export function foldBatchNorm<T>(ops: Ops<T>, weight: T, channelAxis: number, norm: BatchNorm<T>, bias?: T): Folded<T> {
  const factor = ops.div(norm.gamma, ops.sqrt(ops.add(norm.variance, ops.constant(norm.epsilon))))
  const along = ops.shape(weight).map((size, axis) => (axis === channelAxis ? size : 1))
  const centre = bias === undefined ? ops.neg(norm.mean) : ops.sub(bias, norm.mean)
  return { weight: ops.mul(weight, ops.reshape(factor, along)), bias: ops.add(norm.beta, ops.mul(centre, factor)) }
}

/** Mean and biased variance of each channel (the last axis) of a layer's output, differentiable. */
export function batchMoments<T>(ops: Ops<T>, y: T): { readonly mean: T; readonly variance: T; readonly count: number } {
  const shape = ops.shape(y)
  const axes = shape.slice(0, -1).map((_, axis) => axis)
  const mean = ops.mean(y, axes)
  const centred = ops.sub(y, mean)
  return { mean, variance: ops.mean(ops.mul(centred, centred), axes), count: axes.reduce((n, axis) => n * shape[axis], 1) }
}

/**
 * Running statistics after a batch: they move by `momentum` towards the batch's mean and its **unbiased** variance.
 * @param momentum the share of the new value (0.1 in PyTorch; Keras states one minus it)
 */
export function updateRunning<T>(ops: Ops<T>, running: { readonly mean: T; readonly variance: T }, batch: { readonly mean: T; readonly variance: T; readonly count: number }, momentum: number): { readonly mean: T; readonly variance: T } {
  const unbiased = batch.count > 1 ? batch.count / (batch.count - 1) : 1
  const move = (from: T, to: T): T => ops.stopGradient(ops.add(ops.mul(from, ops.constant(1 - momentum)), ops.mul(to, ops.constant(momentum))))
  return { mean: move(running.mean, batch.mean), variance: move(running.variance, ops.mul(batch.variance, ops.constant(unbiased))) }
}

/** Mean and biased variance of one batch on the host, and how many values a channel had. */
export interface HostMoments {
  readonly mean: ArrayLike<number>
  readonly variance: ArrayLike<number>
  readonly count: number
}

/**
 * Mean and unbiased variance over several batches together: BatchNorm statistics estimated anew before conversion, because the
 * running ones follow weights that were still jumping between levels (Nagel et al. 2022, section 2.3).
 * @throws LOWBIT_CALIBRATION without batches, LOWBIT_SHAPE if they differ in channels.
 */
export function pooledMoments(batches: readonly HostMoments[]): { readonly mean: Float32Array; readonly variance: Float32Array; readonly count: number } {
  const [first] = batches
  const count = batches.reduce((n, b) => n + b.count, 0)
  if (first === undefined || count < 2) throw new LowbitError('LOWBIT_CALIBRATION', { thing: 'BatchNorm statistics', found: `${count} values a channel`, expected: 'at least two, from at least one batch' })
  const channels = first.mean.length
  const mean = new Float64Array(channels)
  const squares = new Float64Array(channels)
  for (const batch of batches) {
    if (batch.mean.length !== channels) throw new LowbitError('LOWBIT_SHAPE', { thing: 'BatchNorm statistics', found: `${batch.mean.length} channels`, expected: `${channels}` })
    for (let c = 0; c < channels; c++) mean[c] += (batch.mean[c] * batch.count) / count
  }
  // About the pooled mean, so that nothing cancels where means are large.
  for (const batch of batches) for (let c = 0; c < channels; c++) squares[c] += batch.count * (batch.variance[c] + (batch.mean[c] - mean[c]) ** 2)
  return { mean: Float32Array.from(mean), variance: Float32Array.from(squares, (s) => s / (count - 1)), count }
}
