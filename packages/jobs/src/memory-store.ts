import type { JobResult, JobStore } from '@lowbit/core'
import { identityDigest } from './identity.js'

/** A store in memory, for runs of one process: each identity has results of its own. */
export function memoryStore(): JobStore & { readonly size: number } {
  const byIdentity = new Map<string, Map<string, JobResult>>()
  let results = new Map<string, JobResult>()
  return {
    get size() {
      return results.size
    },
    open(identity) {
      const key = identityDigest(identity)
      results = byIdentity.get(key) ?? new Map<string, JobResult>()
      byIdentity.set(key, results)
      return Promise.resolve()
    },
    load: (site) => Promise.resolve(results.get(site)),
    save(site, result) {
      results.set(site, result)
      return Promise.resolve()
    },
  }
}
