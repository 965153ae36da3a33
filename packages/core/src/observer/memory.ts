import type { StatisticName, StatisticOptions } from '../contract/v2/statistics.js'
import { LowbitError } from '../errors.js'
import { SHARD_BATCHES } from './shards.js'

/** What a statistic's memory depends on. */
export interface StatisticSizes {
  /** K: columns of the weight. */
  readonly columns: number
  readonly groups: number
  /** Channels along `StatisticOptions.axis`, where ranges are taken by channel. */
  readonly channels?: number
  /** Values of the tensor in one batch, where a host carries them all out: a histogram that is not sampled. */
  readonly values?: number
  /** Batches of the data, where that is known: sums of more than one shard need a second array. */
  readonly batches?: number
}

/** Bytes of one statistic. */
export interface StatisticCost {
  /** Held from the first batch until whoever asked for it is done with it. */
  readonly kept: number
  /** More, while its pass over the data runs: a second shard, and what a batch carries out of the runtime. */
  readonly passing: number
}

/** Bytes that a statistic takes: the one formula behind every plan. */
export function statisticCost(statistic: StatisticName, { columns, groups, channels = 1, values = 0, batches }: StatisticSizes, options: StatisticOptions = {}): StatisticCost {
  const oneShard = batches !== undefined && batches <= SHARD_BATCHES
  const summed = (length: number): StatisticCost => ({ kept: 8 * length, passing: (oneShard ? 0 : 8 * length) + 4 * length })
  switch (statistic) {
    case 'range':
      return { kept: 16 * channels, passing: 8 * channels }
    case 'histogram': {
      const kept = 16 * (options.bins ?? 2048)
      return { kept, passing: (oneShard ? 0 : kept) + 4 * Math.min(values, options.sample ?? values) }
    }
    case 'absmax-per-channel':
      return { kept: 8 * columns * groups, passing: 4 * columns * groups }
    case 'mean-abs-per-channel':
    case 'mean':
      return summed(columns * groups)
    case 'samples': {
      const bytes = 4 * columns * groups * (options.rows ?? 64)
      return { kept: bytes, passing: bytes }
    }
    case 'gram':
    case 'cross-gram':
      return summed(groups * columns * columns)
  }
}

/** Bytes a statistic holds between batches and afterwards. */
export function statisticMemory(statistic: StatisticName, sizes: StatisticSizes, options: StatisticOptions = {}): number {
  return statisticCost(statistic, sizes, options).kept
}

/** Share of `maxMemory` for statistics that wait for whoever asked for them; the rest is for what passes by meanwhile. */
const KEPT_SHARE = 5 / 8

/** Adds up what is observed together, and tells whether it fits. */
export class MemoryPlan {
  readonly #maxMemory: number
  #kept = 0
  #largestPass = 0

  constructor(maxMemory: number) {
    this.#maxMemory = maxMemory
  }

  /** True if these fit beside what is planned, each in a pass of its own if need be. */
  fits(costs: readonly StatisticCost[]): boolean {
    const kept = costs.reduce((sum, c) => sum + c.kept, this.#kept)
    const passing = costs.reduce((most, c) => Math.max(most, c.passing), this.#largestPass)
    return kept <= this.#maxMemory * KEPT_SHARE && kept + passing <= this.#maxMemory
  }

  add(costs: readonly StatisticCost[]): void {
    for (const { kept, passing } of costs) {
      this.#kept += kept
      this.#largestPass = Math.max(this.#largestPass, passing)
    }
  }
}

/** Requests of one observation in passes over the data: what is kept of all and passes by in one fits `maxMemory`, or a pass has one request. */
export function passesByMemory<R>(requests: readonly R[], costOf: (request: R) => StatisticCost, maxMemory: number): R[][] {
  const costs = requests.map(costOf)
  const room = maxMemory - costs.reduce((sum, c) => sum + c.kept, 0)
  const passes: R[][] = []
  let used = 0
  for (const [i, request] of requests.entries()) {
    const { passing } = costs[i]
    const last = passes.at(-1)
    if (last === undefined || used + passing > room) {
      passes.push([request])
      used = passing
    } else {
      last.push(request)
      used += passing
    }
  }
  return passes
}

/** Bytes that a single statistic may always take, however little memory is asked for: 16 MiB. */
const LEAST_MEMORY = 2 ** 24

/**
 * Holds a statistic to the memory there is, before anything is allocated.
 * @param thing - what wants it, for the error
 * @throws LOWBIT_LIMIT with its size
 */
export function requireMemory(statistic: StatisticName, cost: StatisticCost, maxMemory: number, thing: string): void {
  const bytes = cost.kept + cost.passing
  if (bytes <= Math.max(maxMemory, LEAST_MEMORY)) return
  const gram = statistic === 'gram' || statistic === 'cross-gram'
  throw new LowbitError('LOWBIT_LIMIT', {
    thing: `${statistic} of ${thing}`,
    found: `${mebibytes(bytes)} MiB${gram ? ' for a matrix of all pairs of its columns' : ''}`,
    expected: `at most maxMemory, ${mebibytes(maxMemory)} MiB`,
    fix: `set maxMemory to ${mebibytes(bytes)} MiB or more${gram ? ', or leave this site to an algorithm that needs no Gram matrix (rtn, hqq) by an override, or exclude it' : ''}`,
  })
}

function mebibytes(bytes: number): number {
  return Math.ceil(bytes / 2 ** 20)
}
