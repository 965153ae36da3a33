import type { JobStatistics } from '../contract/algorithm.js'
import type { BatchSource, ModelHost, ObserveOptions, Site } from '../contract/host.js'
import type { StatisticName, StatisticRequest, StatisticTarget, StatisticValues } from '../contract/statistics.js'
import { LowbitError } from '../errors.js'
import { observeThrough, type CalibrationCache } from './calibration-cache.js'

/** Bytes for statistics when nothing else is said: 512 MiB. */
export const DEFAULT_MAX_MEMORY = 512 * 2 ** 20

/** One thing to observe for: a site or fold group with what its algorithm needs. */
export interface Wanted {
  /** The site whose input is seen. */
  readonly site: Site
  readonly needs: readonly StatisticName[]
}

/** Bytes one statistic of a site's input takes: the formula behind the chunks. */
export function statisticBytes(statistic: StatisticName, site: Site): number {
  const { columns, groups } = site.weight
  switch (statistic) {
    case 'gram':
    case 'cross-gram':
      return groups * columns * columns * 8
    case 'samples':
      return 64 * groups * columns * 4
    case 'histogram':
      return 2048 * 8
    default:
      return groups * columns * 8
  }
}

/** Sites that read the same tensor in the same columns share their statistics. */
export function inputKey(site: Site): string {
  return site.kind === 'linear' ? `linear ${site.input.name} ${site.weight.columns}` : `site ${site.id}`
}

/**
 * Splits work into chunks whose statistics fit `maxMemory` together; sites with the same input stay together and count once.
 * A single site that is larger than the limit gets a chunk of its own.
 */
export function chunkByMemory<W extends Wanted>(wanted: readonly W[], maxMemory: number): readonly (readonly W[])[] {
  const chunks: W[][] = []
  let current: W[] = []
  let used = 0
  let seen = new Set<string>()
  for (const w of wanted) {
    const key = inputKey(w.site)
    const cost = seen.has(key) ? 0 : w.needs.reduce((sum, s) => sum + statisticBytes(s, w.site), 0)
    if (current.length > 0 && used + cost > maxMemory) {
      chunks.push(current)
      current = []
      used = 0
      seen = new Set()
    }
    current.push(w)
    used += cost
    seen.add(key)
  }
  if (current.length > 0) chunks.push(current)
  return chunks
}

/**
 * Observes for a chunk of sites and hands each its statistics.
 * @param kept - where statistics are kept between runs, and what tells this state of the model from others
 * @throws LOWBIT_CALIBRATION if an algorithm needs data and there is none.
 */
export async function collect(host: ModelHost, wanted: readonly Wanted[], data: BatchSource | undefined, options: ObserveOptions, kept?: { readonly stage: string; readonly cache: CalibrationCache | undefined }): Promise<readonly JobStatistics[]> {
  if (wanted.every((w) => w.needs.length === 0)) return wanted.map(() => ({}))
  if (data === undefined) {
    const needy = wanted.find((w) => w.needs.length > 0)
    throw new LowbitError('LOWBIT_CALIBRATION', {
      thing: `site ${needy?.site.id ?? ''}`,
      found: `an algorithm that needs ${needy?.needs.join(', ') ?? ''} and no calibration data`,
      fix: 'pass `calibration` (command line: --calibration samples.npz), a few dozen typical inputs',
    })
  }
  const targets = new Map<string, StatisticTarget>()
  const requests = new Map<string, StatisticRequest>()
  for (const { site, needs } of wanted) {
    const key = inputKey(site)
    const target = targets.get(key) ?? { site: site.id }
    targets.set(key, target)
    for (const statistic of needs) requests.set(`${key} ${statistic}`, { statistic, target })
  }
  const statistics = await observeThrough(host, kept?.stage ?? '', [...requests.values()], data, { observe: options, cache: kept?.cache })
  return wanted.map(({ site, needs }) => {
    const got: { [S in StatisticName]?: StatisticValues[S] } = {}
    for (const statistic of needs) {
      const request = requests.get(`${inputKey(site)} ${statistic}`)
      const value = request === undefined ? undefined : statistics.get(request)
      if (value === undefined) {
        throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `site ${site.id}`, found: `${host.name} gave no ${statistic}`, fix: 'use an algorithm that needs less, or exclude the site' })
      }
      assignStatistic(got, statistic, value)
    }
    return got
  })
}

function assignStatistic<S extends StatisticName>(into: { [P in S]?: StatisticValues[P] }, name: S, value: StatisticValues[S]): void {
  into[name] = value
}
