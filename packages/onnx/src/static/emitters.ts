import { type Acceptance, type Json, LowbitError, type Scheme } from '@lowbit/core'
import { neverAccepted, YES } from '../emit/accept.js'
import { eachWeight } from '../emit/by-weight.js'
import { dequantizeWeight } from '../emit/dequantize-weight.js'
import type { EmitJob, Emitter } from '../emit/emitter.js'
import { gatherCodes, isGatherable } from '../emit/gather-codes.js'
import { pointWeightAt, type SiteRecord } from '../sites/index.js'
import { upgradeOpset } from '../prepare/upgrade-opset.js'
import { hasIntegerProduct } from './operators.js'
import type { StaticDecisions, StaticOptions } from './decisions.js'
import { emitQdq } from './qdq.js'
import { emitQOperator } from './qoperator.js'
import { isWideWeight, unsuitableWeight } from './weight-codes.js'

/** Per-channel DequantizeLinear came with this opset. */
const OLDEST_OPSET = 13

/**
 * Static int8 as QuantizeLinear / DequantizeLinear pairs, which ONNX Runtime fuses into integer operators.
 *
 * Settings: `weightStorage`, `uint8` (default, exact on every CPU: signed codes of weights and activations are moved up by 128) or `int8`
 * (as they are).
 */
export const qdqEmitter: Emitter = staticEmitter('qdq', emitQdq)

/** Static int8 with integer operators in the file: for runtimes that do not fuse. Settings as {@link qdqEmitter}. */
export const qoperatorEmitter: Emitter = staticEmitter('qoperator', emitQOperator)

function staticEmitter(format: string, write: typeof emitQdq): Emitter {
  return {
    format,
    accepts: acceptsStatic,
    emit(job) {
      if (job.graph.opset() < OLDEST_OPSET) {
        const from = upgradeOpset(job.graph)
        job.notes.push(`opset ${from} upgraded to ${job.graph.opset()}: older ones have no scales per channel`)
      }
      weightsAlone(job)
      job.notes.push(...write(job.graph, decisionsOf(job), optionsOf(job.settings)))
    },
  }
}

/** Integer kernels take int8 per channel or tensor, without zero points; sites without such a kernel take more, and 16 bits compute in float. */
function acceptsStatic(record: SiteRecord, scheme: Scheme): Acceptance {
  const never = neverAccepted(scheme)
  if (never !== undefined || !hasIntegerProduct(record.op)) return never ?? YES
  if (isWideWeight({ scheme })) return YES
  if (record.floatType !== 'float32') return { ok: false, reason: `${record.floatType} activations have no integer kernels` }
  const reason = unsuitableWeight({ scheme })
  return reason === undefined ? YES : { ok: false, reason: `integer kernels do not take ${reason}`, instead: { dtype: 'int8', granularity: { kind: 'channel', axis: 0 }, symmetric: true } }
}

/** Embedding tables are looked up as codes, transposed convolutions compute in float: nothing to calibrate. */
function weightsAlone(job: EmitJob): void {
  eachWeight({ ...job, sites: job.sites.filter(({ record }) => !hasIntegerProduct(record.op)) }, ({ owner, sites, q }) => {
    if (owner.op === 'Gather' && isGatherable(q)) gatherCodes(job.graph, sites, q)
    else pointWeightAt(job.graph, sites, dequantizeWeight(job.graph, owner, q))
  })
}

function decisionsOf(job: EmitJob): StaticDecisions {
  return { sites: job.records, weights: new Map(job.sites.map(({ record, q }) => [record.site.id, q])), activations: job.activations }
}

/** @throws LOWBIT_ARGUMENT for a setting that does not exist */
function optionsOf(settings: Readonly<Record<string, Json>>): StaticOptions {
  const weightStorage = settings['weightStorage']
  if (weightStorage === undefined) return {}
  if (weightStorage !== 'uint8' && weightStorage !== 'int8') {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'setting weightStorage', found: JSON.stringify(weightStorage), expected: `'uint8' or 'int8'` })
  }
  return { weightStorage }
}
