import type { QTensor } from '../../qtensor.js'
import type { Scheme } from '../../scheme.js'
import type { HostTensor } from '../../tensor.js'
import type { Acceptance, ActivationParams, ActivationPoint, ApplyResult, Artifact, Batch, BatchSource, EmitOptions, FoldGroup, ObserveOptions, OperatorChoice, ResidualStream, Site, TensorRef, Transform } from '../v2/host.js'
import type { StatisticName, StatisticRequest, Statistics } from '../v2/statistics.js'
import type { Plugin } from './plugin.js'

export interface HostSupports {
  readonly formats: readonly string[]
  readonly nativeStatistics: readonly StatisticName[]
  readonly statistics: readonly StatisticName[]
  readonly transforms: readonly Transform['kind'][]
  readonly siteKinds: readonly Site['kind'][]
  readonly activations: boolean
  readonly tolerance: { readonly relative: number; readonly reason: string }
}

/** A host whose optional abilities were optional methods. Its own search for what ruins a model is no longer called. */
export interface ModelHost extends Plugin<'host'> {
  readonly supports: HostSupports
  inputs(): readonly TensorRef[]
  outputs(): readonly TensorRef[]
  sites(): readonly Site[]
  skipped(): readonly { readonly id: string; readonly reason: string }[]
  foldGroups(): readonly FoldGroup[]
  activations(): readonly ActivationPoint[]
  chooseOperators?(choice: OperatorChoice): Promise<void>
  size(): number
  accepts(site: string, scheme: Scheme, format: string): Acceptance
  readWeight(site: string): Promise<HostTensor<'float32'>>
  writeWeight(site: string, weight: HostTensor<'float32'>): Promise<void>
  addBias(site: string, delta: Float32Array): Promise<void>
  apply(group: string, transform: Transform): Promise<ApplyResult>
  residualStreams?(): Promise<readonly ResidualStream[]>
  observe(requests: readonly StatisticRequest[], data: BatchSource, options?: ObserveOptions): Promise<Statistics>
  assign(site: string, q: QTensor | null): void
  assignActivation(point: string, params: ActivationParams | null): void
  fingerprint?(): Promise<string>
  run(batch: Batch, options?: { readonly model?: 'current' | 'original' }): Promise<Batch>
  emit(format: string, options?: EmitOptions): Promise<Artifact>
  dispose(): Promise<void>
}
