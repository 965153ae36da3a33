import type { ErrorCode, ErrorParts, Json, RoundingJob, RoundingResult } from '@lowbit/core'

/** What a worker is asked: a job without what cannot cross threads. */
export interface JobMessage {
  readonly id: number
  readonly algorithm: string
  readonly config: { readonly [key: string]: Json }
  readonly job: Pick<RoundingJob, 'site' | 'weight' | 'scheme' | 'statistics' | 'seed'>
}

/** What it answers. */
export type ResultMessage =
  | { readonly id: number; readonly result: RoundingResult }
  | { readonly id: number; readonly error: { readonly code?: ErrorCode; readonly parts?: ErrorParts; readonly message: string } }
