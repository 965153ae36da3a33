import { throwIfAborted, type QTensor } from '@lowbit/core'
import type { SiteRecord } from '../sites/index.js'
import type { EmitJob } from './emitter.js'

/** Sites that share a weight, once, with its codes. */
export interface DecidedWeight {
  readonly owner: SiteRecord
  readonly sites: readonly SiteRecord[]
  readonly q: QTensor
}

/**
 * Calls `write` for each quantized weight in turn.
 * @param apart - embeddings and products that share a weight come one after the other: they are written by different operators
 */
export function eachWeight(job: EmitJob, write: (weight: DecidedWeight) => void, apart = false): void {
  const weights = new Map<string, { owner: SiteRecord; sites: SiteRecord[]; q: QTensor }>()
  for (const { record, q } of job.sites) {
    const key = JSON.stringify([record.site.tiedTo ?? record.site.id, apart && record.op === 'Gather'])
    const known = weights.get(key)
    if (known === undefined) weights.set(key, { owner: record, sites: [record], q })
    else known.sites.push(record)
  }
  for (const weight of weights.values()) {
    throwIfAborted(job.signal, `writing site '${weight.owner.site.id}'`)
    write(weight)
  }
}
