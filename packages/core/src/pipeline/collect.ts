import type { JobStatistics } from '../contract/v2/algorithm.js'
import type { BatchSource, ModelHost, ObserveOptions, Site } from '../contract/v2/host.js'
import type { StatisticName, StatisticRequest, Statistics, StatisticTarget, StatisticValues } from '../contract/v2/statistics.js'
import { LowbitError } from '../errors.js'
import { observeThrough, type CalibrationCache } from './calibration-cache.js'
import { mergeStatistics } from './readers.js'

/** Bytes for statistics when nothing else is said: 512 MiB. */
export const DEFAULT_MAX_MEMORY = 512 * 2 ** 20

/** One thing to observe for: a site or fold group with what its algorithm needs. */
export interface Wanted {
  /** The site whose input is seen. */
  readonly site: Site
  /** All sites whose inputs are seen, where several read one weight. Default: `site` alone. */
  readonly readers?: readonly Site[]
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
    const readers = w.readers ?? [w.site]
    const fresh = readers.filter((site, i) => !seen.has(inputKey(site)) && readers.findIndex((r) => inputKey(r) === inputKey(site)) === i)
    const cost = fresh.reduce((all, site) => all + w.needs.reduce((sum, s) => sum + statisticBytes(s, site), 0), 0)
    if (current.length > 0 && used + cost > maxMemory) {
      chunks.push(current)
      current = []
      used = 0
      seen = new Set()
    }
    current.push(w)
    used += cost
    for (const site of readers) seen.add(inputKey(site))
  }
  if (current.length > 0) chunks.push(current)
  return chunks
}

/**
 * Observes for a chunk of sites and hands each its statistics; those of a weight with several readers as one.
 * @param kept - where statistics are kept between runs, and what tells this state of the model from others
 * @throws LOWBIT_CALIBRATION if an algorithm needs data and there is none.
 */
export async function collect(host: ModelHost, wanted: readonly Wanted[], data: BatchSource | undefined, options: ObserveOptions, kept?: Kept): Promise<readonly JobStatistics[]> {
  return (await collectEach(host, wanted, data, options, kept)).map((of) => mergeStatistics([...of.values()]))
}

interface Kept {
  readonly stage: string
  readonly cache: CalibrationCache | undefined
}

/** As {@link collect}, with the statistics of each reader by its id. */
export async function collectEach(host: ModelHost, wanted: readonly Wanted[], data: BatchSource | undefined, options: ObserveOptions, kept?: Kept): Promise<readonly ReadonlyMap<string, JobStatistics>[]> {
  const needy = wanted.find((w) => w.needs.length > 0)
  if (needy === undefined) return wanted.map((w) => new Map((w.readers ?? [w.site]).map((site) => [site.id, {}])))
  if (data === undefined) {
    throw new LowbitError('LOWBIT_CALIBRATION', {
      thing: `site ${needy.site.id}`,
      found: `an algorithm that needs ${needy.needs.join(', ')} and no calibration data`,
      fix: 'pass `calibration` (command line: --calibration samples.npz), a few dozen typical inputs',
    })
  }
  const targets = new Map<string, StatisticTarget>()
  const requests = new Map<string, StatisticRequest>()
  for (const { site: own, readers = [own], needs } of wanted) {
    for (const site of readers) {
      const key = inputKey(site)
      const target = targets.get(key) ?? { site: site.id }
      targets.set(key, target)
      for (const statistic of needs) requests.set(`${key} ${statistic}`, { statistic, target })
    }
  }
  const statistics = await observeThrough(host, kept?.stage ?? '', [...requests.values()], data, { observe: options, cache: kept?.cache })
  return wanted.map(({ site: own, readers = [own], needs }) => new Map(readers.map((site) => [site.id, answered(host, site, needs, requests, statistics)])))
}

function answered(host: ModelHost, site: Site, needs: readonly StatisticName[], requests: ReadonlyMap<string, StatisticRequest>, statistics: Statistics): JobStatistics {
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
}

function assignStatistic<S extends StatisticName>(into: { [P in S]?: StatisticValues[P] }, name: S, value: StatisticValues[S]): void {
  into[name] = value
}
