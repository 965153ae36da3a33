import type { RoundingJob, RoundingResult } from '@lowbit/core'
import type { AlgorithmName } from './algorithm-table.js'
import type { Failure } from './failure.js'

/** A rounding job as a value: who is to do it, with which linear algebra, and on what. */
export interface JobMessage {
  readonly type: 'job'
  readonly id: number
  readonly algorithm: AlgorithmName
  readonly linalg: string
  readonly job: Pick<RoundingJob, 'site' | 'weight' | 'scheme' | 'statistics' | 'seed'>
}

export interface StopMessage {
  readonly type: 'stop'
  readonly id: number
}

/** What becomes of a job; `unknown`: the worker has no such algorithm or linear algebra, and the job is for someone else. */
export type JobAnswer = { readonly type: 'answer'; readonly id: number } & ({ readonly result: RoundingResult } | { readonly failure: Failure } | { readonly unknown: true })

export function isMessage<T extends string>(message: unknown, type: T): message is { readonly type: T } {
  return typeof message === 'object' && message !== null && 'type' in message && message.type === type
}
