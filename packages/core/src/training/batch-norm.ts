import type { Ops } from '../contract/training.js'

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
