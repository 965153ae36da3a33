import type { OnProgress } from '../../progress.js'
import type { QTensor } from '../../qtensor.js'
import type { Scheme } from '../../scheme.js'
import type { HostTensor } from '../../tensor.js'
import type { FoldGroup, Site, Transform } from './host.js'
import type { LinAlg } from './linalg.js'
import type { Json, Plugin } from './plugin.js'
import type { StatisticName, StatisticValues } from './statistics.js'

/** Statistics of one site's input that the algorithm asked for in `needs`. */
export type JobStatistics = { readonly [S in StatisticName]?: StatisticValues[S] }

/** Facts an algorithm wants in the report: damping used, α chosen, iterations. */
export type Notes = Readonly<Record<string, Json>>

/** What an algorithm may know of a site: never a graph, never a file. */
export type SiteFacts = Pick<Site, 'id' | 'kind'> & { readonly weight: Pick<Site['weight'], 'rows' | 'columns' | 'groups' | 'columnsPerChannel'> }

/** A value in: no file, no host, no clock. The same job gives the same bytes anywhere. */
export interface RoundingJob {
  readonly site: SiteFacts
  /** f32 `[N, K]`. Not to be changed. */
  readonly weight: HostTensor<'float32'>
  readonly scheme: Scheme
  readonly statistics: JobStatistics
  readonly linalg: LinAlg
  readonly seed: number
  readonly signal?: AbortSignal
  readonly onProgress?: OnProgress
}

export interface RoundingResult {
  readonly q: QTensor
  readonly notes?: Notes
  /** Sentences for the user: too few samples, raised damping. */
  readonly warnings?: readonly string[]
}

/** Turns one weight matrix into codes: round-to-nearest, HQQ, GPTQ. */
export interface RoundingAlgorithm extends Plugin<'rounding'> {
  /** Statistics a job under this scheme must carry. */
  needs(scheme: Scheme): readonly StatisticName[]
  /**
   * Statistics that a job carries as well where the model before the site is rounded already, as in sequential mode, if the host can
   * give them. Default none.
   */
  sequential?(scheme: Scheme): readonly StatisticName[]
  /** @throws LOWBIT_UNSUPPORTED for a scheme it cannot do. */
  round(job: RoundingJob): Promise<RoundingResult>
}

export interface TransformSite extends SiteFacts {
  readonly tensor: HostTensor<'float32'>
  readonly scheme: Scheme
  /** In a job about a residual stream: how the site stands to it, and the gain of the norm in between, to be folded into it. */
  readonly stream?: { readonly role: 'reads' | 'writes'; readonly gain?: Float32Array }
}

export interface TransformJob {
  readonly group: Pick<FoldGroup, 'id' | 'producer' | 'channels' | 'refused'>
  readonly sites: readonly TransformSite[]
  /** Of the input all these sites share. Empty for a residual stream. */
  readonly statistics: JobStatistics
  readonly linalg: LinAlg
  readonly seed: number
  readonly signal?: AbortSignal
  readonly onProgress?: OnProgress
}

export interface TransformResult {
  /** Empty: the group is left alone. */
  readonly transforms: readonly Transform[]
  /** Why the group was left alone. */
  readonly skip?: string
  readonly notes?: Notes
  readonly warnings?: readonly string[]
}

/** Changes the float model without changing what it computes: SmoothQuant, AWQ scales, rotations. */
export interface TransformAlgorithm extends Plugin<'transform'> {
  /** What is planned: fold groups one by one (default), or residual streams. */
  readonly scope?: 'group' | 'residual'
  needs(scheme: Scheme): readonly StatisticName[]
  plan(job: TransformJob): Promise<TransformResult>
}
