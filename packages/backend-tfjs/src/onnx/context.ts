import type { SiteOp } from '@lowbit/onnx'
import type { FloatModel } from '../host/float-model.js'
import type { SiteState } from '../host/site-state.js'
import type { Layer } from '../tf.js'
import type { GraphWriter } from './graph-writer.js'
import type { WeightShape } from './site-matrix.js'

/** A site's operator, to be written around its weight. */
export interface Product {
  readonly op: SiteOp
  /** How the operator takes the weight. */
  readonly shape: WeightShape
  /** Kernel sizes of a convolution. */
  readonly kernel?: readonly number[]
  /** @returns the name of what the operator makes */
  readonly write: (weight: string) => string
}

/** What a layer's converter works with. */
export interface OnnxContext extends FloatModel {
  readonly writer: GraphWriter
  /** What a site reads: divided by the scale that was inserted. */
  read(site: SiteState, x: string): string
  /** Writes a site's operator, and notes where the site stands. @returns what it makes */
  product(site: SiteState, product: Product): string
}

/** One call of a layer: names of its inputs, and their shapes as the model was built (`null` for free dims). */
export interface LayerCall {
  readonly layer: Layer
  readonly inputs: readonly string[]
  readonly shapes: readonly (readonly (number | null)[])[]
  readonly sites: readonly SiteState[]
}

/** Writes a layer's nodes. @returns the name of its output */
export type Converter = (context: OnnxContext, call: LayerCall) => string
