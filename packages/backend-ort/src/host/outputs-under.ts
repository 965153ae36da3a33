import { type ActivationParams, type Batch, type DecisionSet, type QTensor, type SeeOutputs, throwIfAborted } from '@lowbit/core'
import { type Graph, neutralPlan, planForMeasuring, simulatePlan, type SiteRecord, writePlan } from '@lowbit/onnx'
import type { SessionOptions } from '../ort.js'
import { PATIENT, type Session } from '../session.js'

/** What the questions are asked of. */
export interface OutputsUnderJob {
  /** Loads a graph into the runtime. */
  readonly open: (graph: Graph, options: SessionOptions) => Promise<Session>
  /** The float model. Not changed. */
  readonly graph: Graph
  readonly sites: readonly SiteRecord[]
  /** What was decided, by the site that owns the weight. */
  readonly weights: ReadonlyMap<string, QTensor>
  readonly activations: ReadonlyMap<string, ActivationParams>
}

/**
 * Outputs under each of several decision sets. Each set has a model of its own, so that it is answered by the integer kernels that
 * will run: loading a model costs less than rounding in float, batch by batch.
 */
export async function outputsUnder(job: OutputsUnderJob, sets: readonly DecisionSet[], batches: readonly Batch[], see: SeeOutputs, signal?: AbortSignal): Promise<void> {
  for (const [index, set] of sets.entries()) {
    throwIfAborted(signal, 'outputs under other decisions')
    const session = await job.open(graphUnder(job, set), PATIENT)
    try {
      for (const [i, batch] of batches.entries()) if (!see(index, i, await session.run(batch))) break
    } finally {
      await session.release()
    }
  }
}

function graphUnder(job: OutputsUnderJob, set: DecisionSet): Graph {
  const activations = new Map(job.activations)
  for (const [point, params] of set.activations ?? []) {
    if (params === null) activations.delete(point)
    else activations.set(point, params)
  }
  const weights = new Map<string, QTensor>()
  const floatWeights = new Set<string>()
  for (const { site } of job.sites) {
    const owner = site.tiedTo ?? site.id
    const q = set.weights?.get(owner) ?? job.weights.get(owner)
    if (q === undefined) continue
    // What it was decided to be still says which products are integer ones: it is the weight's rounding that is looked at, alone.
    weights.set(owner, q)
    if (set.weights?.get(owner) === null) floatWeights.add(owner)
  }
  const graph = job.graph.clone()
  const records = job.sites.map((record) => ({ ...record }))
  if (activations.size > 0) {
    writePlan(graph, records, planForMeasuring(graph, records, { weights, activations }, floatWeights))
    return graph
  }
  // Where no activation is rounded no product is one of integers: all compute with the values of the codes.
  for (const owner of floatWeights) weights.delete(owner)
  simulatePlan(graph, records, neutralPlan(graph, records, { weights, activations }))
  return graph
}
