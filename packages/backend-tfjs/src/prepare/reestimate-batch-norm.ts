import { LowbitError, pooledMoments, type HostMoments } from '@lowbit/core'
import { gainAndShift } from '../layers/batch-norm.js'
import { wrapCall } from '../layers/call.js'
import { layerGraphs } from '../layers/graph.js'
import { layerVariable, setting, type LayerVariable } from '../layers/layer-variable.js'
import type { Layer, Tensor, TfCore } from '../tf.js'
import type { Prepared } from './prepare.js'
import type { PreparedSite } from './prepared-site.js'

/** What became of one BatchNormalization's statistics. */
export interface ReestimatedNorm {
  readonly layer: string
  /** Values a channel that were seen. */
  readonly count: number
  /** Largest shift of a channel's mean, in its own old deviations. */
  readonly largestShift: number
  /** Least and largest ratio of a channel's new variance to its old one. */
  readonly varianceRatio: readonly [number, number]
}

/**
 * Estimates the moving statistics of every BatchNormalization anew, over batches that the quantized model runs in inference, before
 * `convert`: the running ones lag behind weights that were still jumping between levels (Nagel et al. 2022, section 2.3). Layer
 * after layer, so that each sees what the corrected ones before it give. Of a norm that is folded, learned scales follow the weight.
 *
 * Where training already saw the statistics as constants (`batchNorm: 'running'`, or after `freezeBatchNorm`), the weights have
 * adapted to them: there it helps a model that was prepared and not trained, and not one that was.
 *
 * @param batches inputs of the model; they are run once a BatchNormalization
 * @throws LOWBIT_CALIBRATION without batches
 */
export async function reestimateBatchNorm(tf: TfCore, prepared: Prepared, batches: readonly (Tensor | Tensor[])[]): Promise<readonly ReestimatedNorm[]> {
  prepared.settle()
  const found: ReestimatedNorm[] = []
  const norms = layerGraphs(prepared.model).flatMap((graph) => graph.layers.filter((layer) => layer.getClassName() === 'BatchNormalization'))
  for (const layer of norms) {
    const mean = layerVariable(layer, 'movingMean')
    const variance = layerVariable(layer, 'movingVariance')
    if (mean === undefined || variance === undefined) continue
    const at = prepared.sites.find(({ norm }) => norm?.layer === layer)
    const moments = await momentsOf(tf, prepared, layer, at, batches)
    found.push(replace(tf, layer, at, { mean, variance }, pooledMoments(moments)))
  }
  return found
}

async function momentsOf(tf: TfCore, prepared: Prepared, layer: Layer, at: PreparedSite | undefined, batches: readonly (Tensor | Tensor[])[]): Promise<HostMoments[]> {
  const kept: { readonly mean: Tensor; readonly variance: Tensor; readonly count: number }[] = []
  const unwrap = wrapCall(layer, (x, _, next) => {
    const { mean, variance, count } = channelMoments(tf, layer, at === undefined ? x : unfolded(tf, at, x))
    kept.push({ mean: tf.keep(mean), variance: tf.keep(variance), count })
    return next(x)
  })
  try {
    for (const batch of batches) tf.dispose(prepared.model.predictOnBatch(batch))
    const moments: HostMoments[] = []
    for (const { mean, variance, count } of kept) moments.push({ mean: Float32Array.from(await mean.data()), variance: Float32Array.from(await variance.data()), count })
    return moments
  } finally {
    unwrap()
    for (const { mean, variance } of kept) tf.dispose([mean, variance])
  }
}

/** A folded layer gives what comes after the norm: back to what would go into it. A channel of gain 0 says nothing about its input. */
function unfolded(tf: TfCore, { norm }: PreparedSite, y: Tensor): Tensor {
  if (norm === undefined) return y
  const { gamma, beta } = gainAndShift(tf, norm)
  const silent = tf.equal(gamma, 0)
  const back = tf.div(tf.sqrt(tf.add(norm.variance.read(), norm.epsilon)), tf.where(silent, tf.fill(gamma.shape, 1), gamma))
  return tf.add(tf.mul(tf.sub(y, beta), back), norm.mean.read())
}

function channelMoments(tf: TfCore, layer: Layer, x: Tensor): { readonly mean: Tensor; readonly variance: Tensor; readonly count: number } {
  const given = Number(setting(layer, 'axis'))
  const axis = given < 0 ? given + x.rank : given
  const axes = x.shape.map((_, i) => i).filter((i) => i !== axis)
  const mean = tf.mean(x, axes, true)
  const centred = tf.sub(x, mean)
  const channels = [x.shape[axis]]
  return { mean: tf.reshape(mean, channels), variance: tf.mean(tf.mul(centred, centred), axes), count: axes.reduce((n, i) => n * x.shape[i], 1) }
}

function replace(tf: TfCore, layer: Layer, at: PreparedSite | undefined, running: { readonly mean: LayerVariable; readonly variance: LayerVariable }, fresh: { readonly mean: Float32Array; readonly variance: Float32Array; readonly count: number }): ReestimatedNorm {
  const epsilon = Number(setting(layer, 'epsilon'))
  const [oldMean, oldVariance] = [running.mean, running.variance].map((v) => Float32Array.from(v.read().dataSync<'float32'>()))
  const gamma = layerVariable(layer, 'gamma')?.read().dataSync<'float32'>()
  const silent = (c: number): boolean => at !== undefined && gamma?.[c] === 0
  const mean = fresh.mean.map((v, c) => (silent(c) ? oldMean[c] : v))
  const variance = fresh.variance.map((v, c) => (silent(c) ? oldVariance[c] : v))
  const bad = [...mean, ...variance].find((v) => !Number.isFinite(v))
  if (bad !== undefined) throw new LowbitError('LOWBIT_NONFINITE', { thing: `input of BatchNormalization '${layer.name}'`, found: `a statistic of ${bad}`, expected: 'finite values', fix: 'the training diverged, or the batches hold NaN' })
  tf.tidy(() => {
    running.mean.write(tf.tensor(mean, running.mean.shape, 'float32'))
    running.variance.write(tf.tensor(variance, running.variance.shape, 'float32'))
  })
  const ratios = Array.from(variance, (v, c) => (v + epsilon) / (oldVariance[c] + epsilon))
  if (at !== undefined) followScales(at, Float32Array.from(ratios, (r) => 1 / Math.sqrt(r)))
  return {
    layer: layer.name,
    count: fresh.count,
    largestShift: mean.reduce((worst, m, c) => Math.max(worst, Math.abs(m - oldMean[c]) / Math.sqrt(oldVariance[c] + epsilon)), 0),
    varianceRatio: [ratios.reduce((a, b) => Math.min(a, b), Infinity), ratios.reduce((a, b) => Math.max(a, b), 0)],
  }
}

function followScales({ weight }: PreparedSite, factors: Float32Array): void {
  if (weight === undefined) return
  const { fakeQuant, held } = weight
  const values = fakeQuant.rescaled?.((name) => held.read(name), factors) ?? {}
  for (const [name, value] of Object.entries(values)) held.write(name, value)
}
