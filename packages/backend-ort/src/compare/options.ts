import { QUANTIZE_OPTIONS, type DeclarationsOf, type OnProgress } from '@lowbit/core'

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

/** What {@link compareModels} takes. */
export const COMPARE_OPTIONS = {
  layers: { type: 'boolean', default: false, about: 'also rank the sites by the damage that each does alone' },
  layerBatches: { type: 'integer', minimum: 1, default: 8, when: { layers: [true] }, about: 'batches that the ranking looks at' },
  saturation: { type: 'boolean', default: true, about: 'look for sites of the second model that saturate on x86 without VNNI' },
  latency: { type: 'boolean', default: true, about: 'measure latency' },
  signal: QUANTIZE_OPTIONS.signal,
  onProgress: QUANTIZE_OPTIONS.onProgress,
} as const satisfies DeclarationsOf<CompareOptions>
