import type { Acceptance, Artifact, EmitOptions, Scheme } from '@lowbit/core'
import type { LayersModel, TfCore } from '../../tf.js'
import type { Overlay } from '../forward.js'
import type { SiteState } from '../site-state.js'

/** A model and everything that was decided about it. */
export interface EmitContext extends Overlay {
  readonly tf: TfCore
  readonly model: LayersModel
}

/** Writes one format. */
export interface Emitter {
  readonly format: string
  accepts(site: SiteState, scheme: Scheme): Acceptance
  /** As `emit`, only to find out. @throws what `emit` would throw for a layer that has no place in the format */
  check(context: EmitContext): void
  emit(context: EmitContext, options: EmitOptions): Promise<Artifact>
}
