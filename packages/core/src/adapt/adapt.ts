import type * as V1 from '../contract/v1.js'
import type { PluginOf } from '../contract/v2/plugins.js'
import type { PluginKind } from '../contract/v2/plugin.js'
import { adaptRounding, adaptTraining, adaptTransform } from './algorithms.js'
import { adaptHost } from './host.js'
import { adaptKernels } from './kernels.js'

interface V1Plugins {
  readonly host: V1.ModelHost
  readonly rounding: V1.RoundingAlgorithm
  readonly transform: V1.TransformAlgorithm
  readonly training: V1.TrainingAlgorithm
  readonly kernels: V1.KernelProvider
}

const ADAPTERS: { readonly [K in keyof V1Plugins]: (plugin: V1Plugins[K]) => PluginOf<K> } = {
  host: adaptHost,
  rounding: adaptRounding,
  transform: adaptTransform,
  training: adaptTraining,
  kernels: adaptKernels,
}

/** True for a kind that contract v1 had. */
export function hadKind(kind: PluginKind): kind is keyof V1Plugins {
  return Object.hasOwn(ADAPTERS, kind)
}

/** A plugin of contract v1 as one of v2. @param plugin - said to be of this kind and of `apiVersion` 1 */
export function adaptV1<K extends keyof V1Plugins>(plugin: V1Plugins[K], kind: K): PluginOf<K> {
  return ADAPTERS[kind](plugin)
}
