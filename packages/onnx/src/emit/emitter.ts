import type { Acceptance, ActivationParams, Json, QTensor, Scheme } from '@lowbit/core'
import type { Graph } from '../graph/index.js'
import type { SiteRecord } from '../sites/index.js'

/** A site with what was decided for it. Sites that share a weight carry the same `q`. */
export interface DecidedSite {
  readonly record: SiteRecord
  readonly q: QTensor
}

/** What a format is given to write: a graph of its own, which it changes in place. */
export interface EmitJob {
  readonly graph: Graph
  /** Every site of the model. */
  readonly records: readonly SiteRecord[]
  /** Those that are quantized, in the order they run. */
  readonly sites: readonly DecidedSite[]
  /** Tensor → parameters; what is missing stays in float. */
  readonly activations: ReadonlyMap<string, ActivationParams>
  readonly settings: Readonly<Record<string, Json>>
  /** Sentences about what could not be done as asked. */
  readonly notes: string[]
  readonly signal: AbortSignal | undefined
}

/** One output format. */
export interface Emitter {
  readonly format: string
  /** Whether the format can hold a scheme at a site. */
  accepts(record: SiteRecord, scheme: Scheme): Acceptance
  emit(job: EmitJob): void
}
