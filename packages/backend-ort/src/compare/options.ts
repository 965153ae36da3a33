import type { OnProgress } from '@lowbit/core'

export interface CompareOptions {
  /** Also rank the sites by the damage that each does alone: as many passes as sites. Default false. */
  readonly layers?: boolean
  /** Batches that the ranking looks at. Default 8. */
  readonly layerBatches?: number
  /** Look for sites of the second model that saturate on x86 without VNNI. Default true. */
  readonly saturation?: boolean
  /** Measure latency. Default true. */
  readonly latency?: boolean
  readonly signal?: AbortSignal
  readonly onProgress?: OnProgress
}
