import type { AdapterAlgorithm } from './adapter.js'
import type { RoundingAlgorithm, TransformAlgorithm } from './algorithm.js'
import type { ModelHost } from './host.js'
import type { KernelProvider } from './kernels.js'
import type { RangeObserver } from './observer.js'
import type { PluginKind } from './plugin.js'
import type { TrainingAlgorithm } from './training.js'

/** What a plugin of each kind has to be. */
export interface Plugins {
  readonly host: ModelHost
  readonly rounding: RoundingAlgorithm
  readonly transform: TransformAlgorithm
  readonly training: TrainingAlgorithm
  readonly kernels: KernelProvider
  readonly observer: RangeObserver
  readonly adapter: AdapterAlgorithm
}

/** The type of a plugin of a kind. */
export type PluginOf<K extends PluginKind> = Plugins[K]
