import type { Layer, LayersModel } from '../tf.js'
import type { SiteState } from './site-state.js'

/** A model with its transforms, and nothing rounded. */
export interface FloatModel {
  readonly model: LayersModel
  readonly sites: readonly SiteState[]
  /** Gain and shift of norm layers that took a scale. */
  readonly norms: ReadonlyMap<Layer, { readonly gamma: Float32Array; readonly beta?: Float32Array }>
  /** Factors on a tensor that nothing before it could take: it is divided by these. */
  readonly inserted: ReadonlyMap<string, Float32Array>
}

/** How a tensor is rounded: to codes from `min` to `max`. */
export interface Rounding {
  readonly scale: number
  readonly zeroPoint: number
  readonly min: number
  readonly max: number
}
