import type { ModelHost, StatisticName, StatisticRequest, Statistics, StatisticValues } from '@lowbit/core'
import { cpuSeconds } from './cpu-seconds.ts'

interface Kept {
  readonly value: StatisticValues[StatisticName]
  /** Its share of the processor time that the observation took. */
  readonly seconds: number
}

/** A host with a cache before it. */
export interface CachedHost {
  readonly host: ModelHost
  /** Processor time that the statistics taken from the cache would have cost. */
  savedSeconds(): number
}

/** Statistics of an unchanged float model, kept over hosts that opened the same file with the same calibration data. */
export class StatisticsCache {
  readonly #kept = new Map<string, Kept>()

  /**
   * A host that observes only what is not kept yet. Once a transform or a decision has changed the model, everything is observed.
   */
  wrap(host: ModelHost): CachedHost {
    const kept = this.#kept
    let changed = false
    let saved = 0
    const observe: ModelHost['observe'] = async (requests, data, options) => {
      if (changed) return host.observe(requests, data, options)
      const missing = requests.filter((r) => !kept.has(keyOf(r)))
      for (const r of requests) saved += kept.get(keyOf(r))?.seconds ?? 0
      if (missing.length > 0) {
        const start = cpuSeconds()
        const fresh = await host.observe(missing, data, options)
        const seconds = (cpuSeconds() - start) / missing.length
        for (const r of missing) {
          const value = fresh.get(r)
          if (value !== undefined) kept.set(keyOf(r), { value, seconds })
        }
      }
      const answers: Statistics = { get: <S extends StatisticName>(r: StatisticRequest<S>) => kept.get(keyOf(r))?.value as StatisticValues[S] | undefined }
      return answers
    }
    const cached = new Proxy(host, {
      get(target, name) {
        if (name === 'observe') return observe
        if (name === 'apply' || name === 'assign' || name === 'writeWeight' || name === 'addBias') changed = true
        const value: unknown = Reflect.get(target, name, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
    return { host: cached, savedSeconds: () => saved }
  }
}

function keyOf({ statistic, target, options }: StatisticRequest): string {
  return JSON.stringify([statistic, target, options ?? null])
}
