import type { Batch, Json, ProgressEvent, Recipe, Report } from '@lowbit/core'
import type { Failure } from './failure.js'

/** The options of a run as a recipe has them: algorithms by name. What stands beside them in a recipe (paths) is not for a worker. */
export type WorkerOptions = Omit<Recipe, 'lowbit' | 'model' | 'output' | 'calibration' | 'plugins'>

/** A model as a worker gets it: bytes, which move there, or what can be read there. */
export type WorkerModel = Uint8Array | ArrayBuffer | Blob | string

/** To the worker that quantizes. A worker may be used again: `run` tells one call from what is left of another. */
export type QuantizeRequest = { readonly run: number } & (
  | { readonly type: 'quantize'; readonly model: WorkerModel; readonly options: WorkerOptions; readonly calibrated: boolean; readonly open: Json; readonly helpers: number; readonly maxMemory?: number }
  | { readonly type: 'batch'; readonly pass: number; readonly batch?: Batch; readonly failure?: Failure }
  | { readonly type: 'abort' }
  /** A port to a worker that helps. */
  | { readonly type: 'helper'; readonly port: MessagePort }
)

/** From the worker that quantizes. */
export type QuantizeReply = { readonly run: number } & (
  | { readonly type: 'progress'; readonly event: ProgressEvent }
  /** The next batch of a pass over the data; a pass that is not known begins. */
  | { readonly type: 'next'; readonly pass: number }
  /** A pass that was left before its end. */
  | { readonly type: 'leave'; readonly pass: number }
  | { readonly type: 'done'; readonly bytes: Uint8Array<ArrayBuffer>; readonly format: string; readonly report: Report }
  | { readonly type: 'failed'; readonly failure: Failure }
)

/** To a worker that helps: jobs come through this port. */
export interface ServeMessage {
  readonly type: 'serve'
  readonly port: MessagePort
}

/** Without the number of the run, which the sender adds. */
export type Unnumbered<T> = T extends unknown ? Omit<T, 'run'> : never
