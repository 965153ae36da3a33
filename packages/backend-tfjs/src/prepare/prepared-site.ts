import { foldBatchNorm, type FakeQuant, type Folded, type Ops, type PlannedLayer } from '@lowbit/core'
import { gainAndShift, type NormAfter } from '../layers/batch-norm.js'
import type { LayerSite } from '../layers/layer-site.js'
import { layerVariable } from '../layers/layer-variable.js'
import { fromMatrix, toMatrix } from '../layers/matrix.js'
import { noTape } from '../ops/no-tape.js'
import type { Tensor, TfCore } from '../tf.js'
import { holdInLayer, type LayerHeld } from './held-variables.js'

export interface HeldFakeQuant {
  readonly fakeQuant: FakeQuant
  readonly held: LayerHeld
}

/** A site with its fake quantization in place. */
export interface PreparedSite {
  readonly site: LayerSite
  readonly planned: PlannedLayer
  readonly norm?: NormAfter
  readonly weight?: HeldFakeQuant
  readonly activation?: HeldFakeQuant
}

/** The kernel as the matrix that its fake quantization is planned for. */
export function orientedMatrix(tf: TfCore, { site, planned }: Pick<PreparedSite, 'site' | 'planned'>, kernel: Tensor): Tensor {
  return planned.layer.orientation === 'NK' ? toMatrix(tf, site, kernel) : tf.reshape(kernel, [site.columns, site.rows])
}

export function fromOriented(tf: TfCore, { site, planned }: Pick<PreparedSite, 'site' | 'planned'>, matrix: Tensor): Tensor {
  return planned.layer.orientation === 'NK' ? fromMatrix(tf, site, matrix) : tf.reshape(matrix, site.variable.shape)
}

/** Weight matrix and bias with a BatchNorm folded in, by the given statistics. */
export function folded(tf: TfCore, ops: Ops<Tensor>, at: Pick<PreparedSite, 'site' | 'planned'>, norm: NormAfter, statistics: { readonly mean: Tensor; readonly variance: Tensor }): Folded<Tensor> {
  const bias = layerVariable(at.site.layer, 'bias')?.read()
  const channelAxis = at.planned.layer.orientation === 'NK' ? 0 : 1
  return foldBatchNorm(ops, orientedMatrix(tf, at, at.site.variable.read()), channelAxis, { ...gainAndShift(tf, norm), ...statistics, epsilon: norm.epsilon }, bias)
}

/** The latent weight as training sees it now: with its BatchNorm folded in by the moving statistics. */
export function latentMatrix(tf: TfCore, ops: Ops<Tensor>, at: Pick<PreparedSite, 'site' | 'planned' | 'norm'>): Tensor {
  if (at.norm === undefined) return orientedMatrix(tf, at, at.site.variable.read())
  return folded(tf, ops, at, at.norm, { mean: at.norm.mean.read(), variance: at.norm.variance.read() }).weight
}

/** Sets the weight's variables to what they start with, from the weight as it stands. */
export function startFromWeights(tf: TfCore, ops: Ops<Tensor>, at: PreparedSite): void {
  if (at.weight === undefined) return
  const { fakeQuant, held } = at.weight
  const values = tf.tidy(() => Float32Array.from(noTape(tf, () => latentMatrix(tf, ops, at)).dataSync<'float32'>()))
  for (const { name, initial } of fakeQuant.variables(values)) held.write(name, initial)
}

/** Adds the variables of a planned layer's fake quantizations to the model. */
export function prepareSite(tf: TfCore, ops: Ops<Tensor>, site: LayerSite, planned: PlannedLayer, norm: NormAfter | undefined): PreparedSite {
  const base = { site, planned, ...(norm === undefined ? {} : { norm }) }
  const { weight, activation } = planned
  const values = weight === undefined ? undefined : tf.tidy(() => Float32Array.from(latentMatrix(tf, ops, base).dataSync<'float32'>()))
  return {
    ...base,
    ...(weight === undefined ? {} : { weight: { fakeQuant: weight.fakeQuant, held: holdInLayer(tf, site.owner, `${site.id}/lowbit/weight`, weight.fakeQuant.variables(values)) } }),
    ...(activation === undefined ? {} : { activation: { fakeQuant: activation.fakeQuant, held: holdInLayer(tf, site.owner, `${site.id}/lowbit/activation`, activation.fakeQuant.variables()) } }),
  }
}
