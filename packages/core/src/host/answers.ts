import type { StatisticName, StatisticRequest, Statistics, StatisticValues } from '../contract/v2/statistics.js'

/** Statistics as `observe` gives them: looked up by what was asked, not by the object that asked. */
export class StatisticAnswers implements Statistics {
  readonly #answers = new Map<string, StatisticValues[StatisticName]>()

  set(request: StatisticRequest, value: StatisticValues[StatisticName] | undefined): void {
    if (value !== undefined) this.#answers.set(keyOf(request), value)
  }

  get<S extends StatisticName>(request: StatisticRequest<S>): StatisticValues[S] | undefined {
    // The key holds the statistic's name, so what lies under it is of that statistic's type.
    return this.#answers.get(keyOf(request)) as StatisticValues[S] | undefined
  }
}

function keyOf({ statistic, target, options = {} }: StatisticRequest): string {
  const place = 'site' in target ? ['site', target.site] : ['tensor', target.tensor]
  return JSON.stringify([statistic, place, options.axis, options.bins, options.sample, options.rows])
}
