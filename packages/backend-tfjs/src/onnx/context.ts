import type { EmitContext } from '../host/emit/emitter.js'
import type { SiteState } from '../host/site-state.js'
import type { Layer } from '../tf.js'
import type { GraphWriter } from './graph-writer.js'
import type { FilledSettings } from './settings.js'

/** What a layer's converter works with. */
export interface OnnxContext extends EmitContext {
  readonly writer: GraphWriter
  readonly notes: string[]
  /** Dense sites whose weight becomes MatMulNBits where it can. */
  readonly nbits: boolean
  readonly settings: FilledSettings
  /** What a site reads: with the scale that was inserted and its quantization. */
  read(site: SiteState, x: string): string
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
