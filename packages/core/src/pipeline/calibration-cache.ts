import type { BatchSource, ModelHost, ObserveOptions } from '../contract/v2/host.js'
import type { Json } from '../contract/v2/plugin.js'
import type { StatisticName, StatisticRequest, Statistics, StatisticValues } from '../contract/v2/statistics.js'
import { LowbitError } from '../errors.js'
import type { RescueResult } from '../rescue/result.js'

/** What kept statistics were made from. Runs with equal identities see the same activations. */
export interface CalibrationIdentity {
  /** Digest of the model as the host opened it. */
  readonly model: string
  /** Digest of the calibration data, or whatever stands for it. */
  readonly data: string
  /** `name@version` of the host and core. */
  readonly made: string
  /** Settings that change what the model computes while it is observed: weight schemes, algorithms, overrides. */
  readonly settings: { readonly [key: string]: Json }
}

/**
 * Keeps what calibration found between runs, so that a run with other ranges, formats or settings of the activations makes no
 * pass over the data. `@lowbit/formats/node` has one in a file; anything that keeps values will do.
 */
export interface CalibrationCache {
  /** For messages: a path. */
  readonly name: string
  /** Stands for the data, where the caller knows it by less than its bytes. Default: SHA-256 over all batches. */
  readonly data?: string
  /** What the values that are kept were made from; undefined if there are none. */
  identity(): Promise<CalibrationIdentity | undefined>
  get(key: string, statistic: StatisticName): StatisticValues[StatisticName] | undefined
  /** May decline what is too large. */
  set(key: string, statistic: StatisticName, value: StatisticValues[StatisticName]): void
  rescue(key: string): RescueResult | undefined
  setRescue(key: string, result: RescueResult): void
  /** Writes what was added, if anything was. */
  save(identity: CalibrationIdentity): Promise<void>
}

/**
 * SHA-256 of the model.
 * @param thing - the option that needs it, for the error
 * @throws LOWBIT_UNSUPPORTED for a host that cannot tell models apart
 */
export async function fingerprintOf(host: ModelHost, thing: string): Promise<string> {
  const { fingerprint } = host.capabilities
  if (fingerprint === undefined) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `${host.name} cannot tell one model from another`, expected: 'a host with the capability fingerprint', fix: 'run without keeping anything' })
  }
  return fingerprint.sha256()
}

/**
 * Holds the cache to what this run's statistics are made from.
 * @throws LOWBIT_CALIBRATION naming what differs
 */
export async function openCache(cache: CalibrationCache, identity: CalibrationIdentity): Promise<CalibrationIdentity> {
  const kept = await cache.identity()
  const differs = kept === undefined ? [] : differences(kept, identity)
  if (differs.length > 0) {
    throw new LowbitError('LOWBIT_CALIBRATION', {
      thing: `calibration cache '${cache.name}'`,
      found: `made with ${differs.join(', ')}`,
      expected: 'the model, data and settings of this run',
      fix: 'delete it, or name another file for this run',
    })
  }
  return identity
}

function differences(kept: CalibrationIdentity, wanted: CalibrationIdentity): readonly string[] {
  const found: string[] = []
  if (kept.model !== wanted.model) found.push('another model')
  if (kept.data !== wanted.data) found.push('other data')
  if (kept.made !== wanted.made) found.push(`${kept.made} (this is ${wanted.made})`)
  for (const key of new Set([...Object.keys(kept.settings), ...Object.keys(wanted.settings)])) {
    const [before, now] = [kept.settings[key], wanted.settings[key]].map((value) => JSON.stringify(value) ?? 'nothing')
    if (before !== now) found.push(`${key} ${shorten(before)} (now ${shorten(now)})`)
  }
  return found
}

function shorten(text: string): string {
  return text.length > 120 ? `${text.slice(0, 117)}…` : text
}

/** As `host.observe`, with what the cache has taken from there. The stage tells apart states of the model within one run. */
export async function observeThrough(host: ModelHost, stage: string, requests: readonly StatisticRequest[], data: BatchSource, context: { readonly observe: ObserveOptions; readonly cache: CalibrationCache | undefined }): Promise<Statistics> {
  const { cache, observe } = context
  if (cache === undefined) return host.observe(requests, data, observe)
  const known = new Map<StatisticRequest, StatisticValues[StatisticName]>()
  const keyOf = ({ statistic, target, options }: StatisticRequest): string => JSON.stringify([stage, statistic, target, options ?? {}])
  for (const request of requests) {
    const value = cache.get(keyOf(request), request.statistic)
    if (value !== undefined) known.set(request, value)
  }
  const missing = requests.filter((request) => !known.has(request))
  const observed = missing.length === 0 ? undefined : await host.observe(missing, data, observe)
  for (const request of missing) {
    const value = observed?.get(request)
    if (value !== undefined) cache.set(keyOf(request), request.statistic, value)
  }
  return {
    get<S extends StatisticName>(request: StatisticRequest<S>) {
      // Kept under a key that names the statistic, which says what the value is.
      return (known.get(request) as StatisticValues[S] | undefined) ?? observed?.get(request)
    },
  }
}
