import type { JobStatistics } from '../contract/v2/algorithm.js'
import type { BatchSource, ModelHost, ObserveOptions, Site } from '../contract/v2/host.js'
import type { StatisticName, StatisticRequest, Statistics, StatisticTarget, StatisticValues } from '../contract/v2/statistics.js'
import { LowbitError } from '../errors.js'
import { MemoryPlan, requireMemory, statisticCost, statisticMemory, type StatisticCost } from '../observer/memory.js'
import { DEFAULT_MAX_MEMORY } from './default-memory.js'
import { observeThrough, type CalibrationCache } from './calibration-cache.js'
import { mergeStatistics } from './readers.js'

/** One thing to observe for: a site or fold group with what its algorithm needs. */
export interface Wanted {
  /** The site whose input is seen. */
  readonly site: Site
  /** All sites whose inputs are seen, where several read one weight. Default: `site` alone. */
  readonly readers?: readonly Site[]
  readonly needs: readonly StatisticName[]
}

/** Bytes that are taken without being asked for where a single statistic needs them: 4 GiB. */
const MOST_UNASKED = 4 * 2 ** 30

/** Bytes one statistic of a site's input takes. */
export function statisticBytes(statistic: StatisticName, site: Site): number {
  return statisticMemory(statistic, site.weight)
}

function siteCost(statistic: StatisticName, site: Site, batches: number | undefined): StatisticCost {
  return statisticCost(statistic, { ...site.weight, ...(batches === undefined ? {} : { batches }) })
}

/** What is there together for one site: of each input that its weight is read with, and their sum where there are several. */
function costsOf({ site, readers = [site], needs }: Wanted, batches: number | undefined, seen: ReadonlySet<string> = new Set()): ReadonlyMap<string, StatisticCost> {
  const costs = new Map<string, StatisticCost>()
  for (const statistic of needs) {
    for (const reader of readers) {
      const key = `${inputKey(reader)} ${statistic}`
      if (!seen.has(key)) costs.set(key, siteCost(statistic, reader, batches))
    }
    if (readers.length > 1) costs.set(`merged ${site.id} ${statistic}`, { kept: siteCost(statistic, site, batches).kept, passing: 0 })
  }
  return costs
}

/**
 * Bytes for statistics: what was asked for; by default {@link DEFAULT_MAX_MEMORY}, or as much as the largest single site needs.
 * @throws LOWBIT_LIMIT, before anything is allocated, for a site whose statistics do not fit alone
 */
export function memoryFor(wanted: readonly Wanted[], asked: number | undefined, batches?: number): number {
  let largest = 0
  const limit = asked ?? MOST_UNASKED
  for (const w of wanted) {
    // All that one site needs is there together; each statistic may have a pass of its own.
    const costs = [...costsOf(w, batches).values()]
    const together = { kept: costs.reduce((sum, c) => sum + c.kept, 0), passing: costs.reduce((most, c) => Math.max(most, c.passing), 0) }
    const [main] = [...w.needs].sort((x, y) => statisticBytes(y, w.site) - statisticBytes(x, w.site))
    if (main !== undefined) requireMemory(main, together, limit, `site ${w.site.id}`)
    largest = Math.max(largest, together.kept + together.passing)
  }
  return asked ?? Math.max(DEFAULT_MAX_MEMORY, largest)
}

/** Sites that read the same tensor in the same columns share their statistics. */
export function inputKey(site: Site): string {
  return site.kind === 'linear' ? `linear ${site.input.name} ${site.weight.columns}` : `site ${site.id}`
}

/**
 * Splits work into chunks whose statistics fit `maxMemory` together; each statistic of an input counts once in a chunk. A single
 * site that is larger gets a chunk of its own.
 * @param batches - number of batches, where it is known
 */
export function chunkByMemory<W extends Wanted>(wanted: readonly W[], maxMemory: number, batches?: number): readonly (readonly W[])[] {
  const chunks: W[][] = []
  let current: W[] = []
  let plan = new MemoryPlan(maxMemory)
  let seen = new Set<string>()
  for (const w of wanted) {
    let costs = costsOf(w, batches, seen)
    if (current.length > 0 && costs.size > 0 && !plan.fits([...costs.values()])) {
      chunks.push(current)
      current = []
      plan = new MemoryPlan(maxMemory)
      seen = new Set()
      costs = costsOf(w, batches)
    }
    current.push(w)
    plan.add([...costs.values()])
    for (const key of costs.keys()) seen.add(key)
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
