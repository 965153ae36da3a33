import type { ActivationRule, QTensor } from '@lowbit/core'
import type { NormAfter } from '../layers/batch-norm.js'
import type { LayerSite } from '../layers/layer-site.js'
import { layerVariable, type LayerVariable } from '../layers/layer-variable.js'
import { toMatrix } from '../layers/matrix.js'
import type { TfCore } from '../tf.js'

/** Scale and zero point of an activation; wider than what `assignActivation` takes, for models that were trained in fewer bits. */
export type StaticRule = Extract<ActivationRule, { readonly kind: 'static' }>

/** A site as the host holds it: what the model computes with now. */
export interface SiteState {
  readonly at: LayerSite
  /** BatchNorm that was folded into weight and bias when the model was opened. */
  readonly norm?: NormAfter
  /** `[N, K]`. */
  readonly weight: Float32Array
  /** `[N]`; absent where the layer has none and none was added. */
  bias?: Float32Array
  /** The codes that were decided, and the values they stand for. */
  q?: { readonly tensor: QTensor; readonly values: Float32Array }
  /** Name of what it reads. */
  readonly input: string
}

/** Reads a site's weight and bias out of the model, folding the BatchNorm that follows. */
export function siteState(tf: TfCore, at: LayerSite, norm: NormAfter | undefined, input: string): SiteState {
  const weight = tf.tidy(() => Float32Array.from(toMatrix(tf, at, at.variable.read()).dataSync<'float32'>()))
  // The bias of a separable convolution belongs to its second step.
  const own = at.weight.form === 'embedding' || at.weight.suffix === '/depthwise' ? undefined : layerVariable(at.layer, 'bias')
  const bias = own === undefined ? undefined : Float32Array.from(own.read().dataSync<'float32'>())
  if (norm === undefined) return { at, weight, input, ...(bias === undefined ? {} : { bias }) }
  const read = (v: LayerVariable | undefined, fallback: number): Float32Array => (v === undefined ? new Float32Array(at.rows).fill(fallback) : Float32Array.from(v.read().dataSync<'float32'>()))
  const gamma = read(norm.gamma, 1)
  const beta = read(norm.beta, 0)
  const mean = read(norm.mean, 0)
  const variance = read(norm.variance, 1)
  const factor = Float32Array.from(gamma, (g, n) => g / Math.sqrt(variance[n] + norm.epsilon))
  return {
    at,
    norm,
    input,
    weight: weight.map((w, i) => w * factor[Math.floor(i / at.columns)]),
    bias: Float32Array.from(factor, (f, n) => beta[n] + ((bias?.[n] ?? 0) - mean[n]) * f),
  }
}
