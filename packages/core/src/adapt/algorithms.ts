import type * as V1 from '../contract/v1.js'
import type { RoundingAlgorithm, TransformAlgorithm } from '../contract/v2/algorithm.js'
import type { TrainingAlgorithm } from '../contract/v2/training.js'

/** What every plugin carries, under the number of the contract in force. */
export function identity<K extends V1.PluginKind>({ kind, name, version, config }: V1.Plugin<K>): Pick<V1.Plugin<K>, 'kind' | 'name' | 'version' | 'config'> & { readonly apiVersion: 2 } {
  return { kind, name, version, config, apiVersion: 2 }
}

export function adaptRounding(v1: V1.RoundingAlgorithm): RoundingAlgorithm {
  return { ...identity(v1), needs: (scheme) => v1.needs(scheme), round: (job) => v1.round(job) }
}

export function adaptTransform(v1: V1.TransformAlgorithm): TransformAlgorithm {
  return { ...identity(v1), ...(v1.scope === undefined ? {} : { scope: v1.scope }), needs: (scheme) => v1.needs(scheme), plan: (job) => v1.plan(job) }
}

export function adaptTraining(v1: V1.TrainingAlgorithm): TrainingAlgorithm {
  return { ...identity(v1), fakeQuant: (spec) => v1.fakeQuant(spec) }
}
