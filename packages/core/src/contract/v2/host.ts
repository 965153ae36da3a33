import type { Declarations } from '../../options/declaration.js'
import type { OnProgress } from '../../progress.js'
import type { QTensor } from '../../qtensor.js'
import type { Scheme } from '../../scheme.js'
import type { HostTensor } from '../../tensor.js'
import type { CapabilityName, HostCapabilities } from './capabilities.js'
import type { ActivationParams } from './activation-params.js'
import type { Json, Plugin } from './plugin.js'
import type { StatisticName, StatisticRequest, Statistics } from './statistics.js'
import type { Acceptance, ActivationPoint, ApplyResult, Batch, BatchSource, FoldGroup, Site, TensorRef, Transform } from './model.js'

export type { ActivationParams } from './activation-params.js'
export type * from './model.js'

/** What a host can do, as data: the pipeline plans by it and the testkit skips by it. */
export interface HostSupports {
  /** Formats `emit` writes. */
  readonly formats: readonly string[]
  /** Statistics computed inside the runtime; the others move activations. */
  readonly nativeStatistics: readonly StatisticName[]
  readonly statistics: readonly StatisticName[]
  readonly transforms: readonly Transform['kind'][]
  /** Site kinds the host can show. */
  readonly siteKinds: readonly Site['kind'][]
  readonly activations: boolean
  /** Settings that `emit` reads; `when: { format: […] }` says for which formats. Absent: they are not looked at before. */
  readonly settings?: Declarations
  /** Formats that hold static activations. Absent: any may. */
  readonly staticFormats?: readonly string[]
  /** Names of the objects in the host's `capabilities`. */
  readonly capabilities: readonly CapabilityName[]
  /** Accepted difference, relative to the output's largest value, with the reason. */
  readonly tolerance: { readonly relative: number; readonly reason: string }
}

export interface ObserveOptions {
  readonly signal?: AbortSignal
  readonly onProgress?: OnProgress
  /** Bytes that statistics and what is carried out of the runtime may take together. Default 512 MiB. */
  readonly maxMemory?: number
  /** `current` (default): with transforms applied and sites assigned so far quantized; `original`: as opened. */
  readonly model?: 'current' | 'original'
}

/** What stays behind in the artifact about how it was made. */
export interface Provenance {
  /** Goes under the key `lowbit.recipe`. */
  readonly recipe: Json
}

export interface EmitOptions {
  readonly provenance?: Provenance
  readonly signal?: AbortSignal
  /** Host-specific settings, such as the activation type of MatMulNBits. */
  readonly settings?: Readonly<Record<string, Json>>
}

/** A finished model. The first file is the model, the others its side files (external data). */
export interface Artifact {
  readonly format: string
  /** Bytes in all. */
  readonly size: number
  /** Notes about what could not be done as asked. */
  readonly notes: readonly string[]
  /** The whole model as bytes. @throws LOWBIT_LIMIT where it does not fit one buffer. */
  bytes(): Uint8Array<ArrayBuffer>
  /** Writes beside the target and renames: the file appears whole or not at all. Not in browsers. */
  save(path: string): Promise<void>
}

/**
 * A model that a backend has opened. One owner at a time; not safe for concurrent calls. `AbstractHost` has what all hosts check.
 */
export interface ModelHost extends Plugin<'host'> {
  readonly supports: HostSupports
  readonly capabilities: HostCapabilities
  /** What a batch must hold: name, dtype and shape (symbolic dims as strings) of every input. */
  inputs(): readonly TensorRef[]
  outputs(): readonly TensorRef[]
  /** In the order they run. */
  sites(): readonly Site[]
  /** What looks like a site but is not offered, and why (already quantized, unsupported type). */
  skipped(): readonly { readonly id: string; readonly reason: string; readonly bytes?: number }[]
  foldGroups(): readonly FoldGroup[]
  /** Empty where `supports.activations` is false. */
  activations(): readonly ActivationPoint[]
  /** Bytes of the model as opened. */
  size(): number
  /** Bytes that weights take less since the model was opened: codes that training left behind float weights. */
  saved(): number
  accepts(site: string, scheme: Scheme, format: string): Acceptance
  /** f32 `[N, K]`, a copy, as the model now stands (before quantization). */
  readWeight(site: string): Promise<HostTensor<'float32'>>
  writeWeight(site: string, weight: HostTensor<'float32'>): Promise<void>
  /** Adds `delta [N]` to the site's bias, making one if needed. */
  addBias(site: string, delta: Float32Array): Promise<void>
  /** @param group - a fold group */
  apply(group: string, transform: Transform): Promise<ApplyResult>
  observe(requests: readonly StatisticRequest[], data: BatchSource, options?: ObserveOptions): Promise<Statistics>
  /** Decides a site's weight: `null` takes the decision back (float). */
  assign(site: string, q: QTensor | null): void
  /** Decides an activation: `null` leaves it in float. */
  assignActivation(point: string, params: ActivationParams | null): void
  /** Runs the model as it now stands, or as opened. */
  run(batch: Batch, options?: { readonly model?: 'current' | 'original' }): Promise<Batch>
  emit(format: string, options?: EmitOptions): Promise<Artifact>
  dispose(): Promise<void>
}
