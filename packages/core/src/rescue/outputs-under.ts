import type { DecisionSet, SeeOutputs } from '../contract/v2/capabilities.js'
import type { Batch, ModelHost } from '../contract/v2/host.js'
import { throwIfAborted } from '../errors.js'
import type { Decisions } from '../pipeline/decisions.js'

/**
 * The outputs under each of several decision sets: by the host, where it has a way of its own, else by deciding, running and
 * deciding back. Leaves the decisions as they were.
 */
export async function outputsUnder(host: ModelHost, decisions: Decisions, sets: readonly DecisionSet[], batches: readonly Batch[], see: SeeOutputs, signal?: AbortSignal): Promise<void> {
  const own = host.capabilities.outputsUnder
  if (own !== undefined) return own.run(sets, batches, see, signal === undefined ? {} : { signal })
  for (const [index, set] of sets.entries()) {
    const weights = [...(set.weights?.keys() ?? [])].map((owner) => [owner, decisions.weights.get(owner) ?? null] as const)
    const activations = [...(set.activations?.keys() ?? [])].map((point) => [point, decisions.activations.get(point) ?? null] as const)
    try {
      for (const [owner, q] of set.weights ?? []) host.assign(owner, q)
      for (const [point, params] of set.activations ?? []) host.assignActivation(point, params)
      for (const [i, batch] of batches.entries()) {
        throwIfAborted(signal, 'rescue')
        if (!see(index, i, await host.run(batch))) break
      }
    } finally {
      for (const [owner, q] of weights) host.assign(owner, q)
      for (const [point, params] of activations) host.assignActivation(point, params)
    }
  }
}
