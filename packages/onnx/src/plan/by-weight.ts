import type { QTensor } from '@lowbit/core'
import type { SiteRecord } from '../sites/index.js'
import type { PlanJob } from './format.js'
import { withWholeZeros } from './stored-codes.js'

/** Sites that share a weight, once, with its codes. */
export interface DecidedWeight {
  readonly owner: SiteRecord
  readonly sites: readonly SiteRecord[]
  readonly q: QTensor
}

/**
 * The quantized weights, in the order of their first sites.
 * @param apart - embeddings and products that share a weight stand one after the other: they become different operators
 */
export function decidedWeights({ records, weights }: Pick<PlanJob, 'records' | 'weights'>, apart = false): readonly DecidedWeight[] {
  const found = new Map<string, { owner: SiteRecord; sites: SiteRecord[]; q: QTensor }>()
  for (const record of records) {
    const owner = record.site.tiedTo ?? record.site.id
    const decided = weights.get(owner)
    if (decided === undefined) continue
    const q = withWholeZeros(decided)
    const key = JSON.stringify([owner, apart && record.op === 'Gather'])
    const known = found.get(key)
    if (known === undefined) found.set(key, { owner: record, sites: [record], q })
    else known.sites.push(record)
  }
  return [...found.values()]
}
