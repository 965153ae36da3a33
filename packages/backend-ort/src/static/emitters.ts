import { type Acceptance, type Json, LowbitError, type Scheme } from '@lowbit/core'
import { neverAccepted, YES } from '../emit/accept.js'
import { eachWeight } from '../emit/by-weight.js'
import { dequantizeWeight } from '../emit/dequantize-weight.js'
import type { EmitJob, Emitter } from '../emit/emitter.js'
import { gatherCodes, isGatherable } from '../emit/gather-codes.js'
import { pointWeightAt, type SiteRecord } from '../sites/index.js'
import { upgradeOpset } from '../prepare/upgrade-opset.js'
import type { StaticDecisions, StaticOptions } from './decisions.js'
import { emitQdq } from './qdq.js'
import { unsuitableWeight } from './weight-codes.js'

/** Per-channel DequantizeLinear came with this opset. */
const OLDEST_OPSET = 13

/**
 * Static int8 as QuantizeLinear / DequantizeLinear pairs, which ONNX Runtime fuses into integer operators.
 *
 * Settings: `weightStorage` `uint8` (default, exact on every CPU) or `int8`.
 */
export const qdqEmitter: Emitter = {
  format: 'qdq',
  accepts: acceptsStatic,
  emit(job) {
    if (job.graph.opset() < OLDEST_OPSET) {
      const from = upgradeOpset(job.graph)
      job.notes.push(`opset ${from} upgraded to ${job.graph.opset()}: older ones have no scales per channel`)
    }
    embeddings(job)
    job.notes.push(...emitQdq(job.graph, decisionsOf(job), optionsOf(job.settings)))
  },
}

/** Integer kernels take int8 per channel or tensor, without zero points; embeddings have no product and take more. */
export function acceptsStatic(record: SiteRecord, scheme: Scheme): Acceptance {
  const never = neverAccepted(scheme)
  if (never !== undefined || record.op === 'Gather') return never ?? YES
  if (record.floatType !== 'float32') return { ok: false, reason: `${record.floatType} activations have no integer kernels` }
  const reason = unsuitableWeight({ scheme })
  return reason === undefined ? YES : { ok: false, reason: `integer kernels do not take ${reason}`, instead: { dtype: 'int8', granularity: { kind: 'channel', axis: 0 }, symmetric: true } }
}

/** Embedding tables are looked up as codes: nothing to calibrate. */
export function embeddings(job: EmitJob): void {
  eachWeight({ ...job, sites: job.sites.filter(({ record }) => record.op === 'Gather') }, ({ owner, sites, q }) => {
    if (isGatherable(q)) gatherCodes(job.graph, sites, q)
    else pointWeightAt(job.graph, sites, dequantizeWeight(job.graph, owner, q))
  })
}

export function decisionsOf(job: EmitJob): StaticDecisions {
  return { sites: job.records, weights: new Map(job.sites.map(({ record, q }) => [record.site.id, q])), activations: job.activations }
}

/** @throws LOWBIT_ARGUMENT for a setting that does not exist */
export function optionsOf(settings: Readonly<Record<string, Json>>): StaticOptions {
  const weightStorage = settings['weightStorage']
  if (weightStorage === undefined) return {}
  if (weightStorage !== 'uint8' && weightStorage !== 'int8') {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'setting weightStorage', found: JSON.stringify(weightStorage), expected: `'uint8' or 'int8'` })
  }
  return { weightStorage }
}
