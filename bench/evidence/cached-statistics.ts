import type { ModelHost, StatisticName, StatisticRequest, Statistics, StatisticValues } from '@lowbit/core'

/** Statistics of an unchanged float model, kept over hosts that opened the same file with the same calibration data. */
export class StatisticsCache {
  readonly #kept = new Map<string, StatisticValues[StatisticName]>()

  /**
   * A host that observes only what is not kept yet. Once a transform or a decision has changed the model, everything is observed.
   */
  wrap(host: ModelHost): ModelHost {
    const kept = this.#kept
    let changed = false
    const observe: ModelHost['observe'] = async (requests, data, options) => {
      if (changed) return host.observe(requests, data, options)
      const missing = requests.filter((r) => !kept.has(keyOf(r)))
      if (missing.length > 0) {
        const fresh = await host.observe(missing, data, options)
        for (const r of missing) {
          const value = fresh.get(r)
          if (value !== undefined) kept.set(keyOf(r), value)
        }
      }
      const answers: Statistics = { get: <S extends StatisticName>(r: StatisticRequest<S>) => kept.get(keyOf(r)) as StatisticValues[S] | undefined }
      return answers
    }
    return new Proxy(host, {
      get(target, name) {
        if (name === 'observe') return observe
        if (name === 'apply' || name === 'assign' || name === 'writeWeight' || name === 'addBias') changed = true
        const value: unknown = Reflect.get(target, name, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  }
}

function keyOf({ statistic, target, options }: StatisticRequest): string {
  return JSON.stringify([statistic, target, options ?? null])
}
