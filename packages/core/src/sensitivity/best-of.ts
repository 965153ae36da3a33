import type { RoundingAlgorithm, RoundingResult } from '../contract/algorithm.js'
import type { Json } from '../contract/plugin.js'
import { LowbitError, throwIfAborted } from '../errors.js'
import { API_VERSION } from '../plugin.js'
import { dequantize } from '../reference/dequantize.js'
import { VERSION } from '../version.js'
import { outputError } from './output-error.js'

/**
 * Several rounding algorithms at every site, and of their results the one with the least output error, measured through the Gram matrix;
 * the first on a tie, and where a site has no Gram matrix. Takes as long as all of them together.
 * @throws LOWBIT_ARGUMENT without candidates.
 */
export function bestOf(candidates: readonly RoundingAlgorithm[]): RoundingAlgorithm {
  if (candidates.length === 0) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'bestOf', found: 'no algorithm', expected: 'one or more' })
  return {
    kind: 'rounding',
    name: '@lowbit/core/best-of',
    version: VERSION,
    apiVersion: API_VERSION,
    config: candidates.map(({ name, version, config }): Json => ({ name, version, config })),
    needs: (scheme) => [...new Set([...candidates.flatMap((c) => c.needs(scheme)), 'gram' as const])],
    async round(job) {
      const { gram } = job.statistics
      const errors: number[] = []
      let best: { readonly result: RoundingResult; readonly error: number; readonly at: number } | undefined
      for (const [at, candidate] of candidates.entries()) {
        throwIfAborted(job.signal, `rounding of ${job.site.id}`)
        const result = await candidate.round(job)
        const error = gram === undefined ? at : outputError(job.weight.data, dequantize(result.q).data, job.site.weight.rows, gram, job.linalg)
        if (gram !== undefined) errors.push(error)
        if (best === undefined || error < best.error) best = { result, error, at }
      }
      if (best === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: 'bestOf', found: 'no result' })
      const { result, at } = best
      return { ...result, notes: { ...result.notes, chosen: candidates[at].name, config: candidates[at].config, errors } }
    },
  }
}
