import type { BatchSource, ObserveOptions } from '../contract/v2/host.js'
import type { LinAlg } from '../contract/v2/linalg.js'
import type { OnProgress } from '../progress.js'
import type { CalibrationCache } from './calibration-cache.js'
import type { Decisions } from './decisions.js'

/** What every stage of a run shares: settings resolved once, and where warnings gather. */
export interface StageContext {
  readonly calibration: BatchSource | undefined
  readonly maxMemory: number
  readonly linalg: LinAlg
  readonly seed: number
  readonly signal: AbortSignal | undefined
  readonly onProgress: OnProgress
  /** Ready to hand to `host.observe`. */
  readonly observe: ObserveOptions
  readonly cache: CalibrationCache | undefined
  /** Writes what the cache has taken, before what follows from it is kept: a run that is stopped leaves no results without their statistics. */
  saveCache(): Promise<void>
  /** Through which sites and activations are decided. */
  readonly decisions: Decisions
  readonly warnings: string[]
}
