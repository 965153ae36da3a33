import type { RoundingAlgorithm } from '../contract/v2/algorithm.js'
import type { ModelHost, Site } from '../contract/v2/host.js'
import { LowbitError } from '../errors.js'
import { checkPlugin } from '../plugin.js'
import { rtn } from '../rounding/rtn.js'
import { describeScheme, type Scheme } from '../scheme.js'
import { matchesAny, nameMatcher } from './match.js'
import type { QuantizeOptions } from './options.js'

/** What will be done at one site, decided before any work starts. */
export type SitePlan =
  | { readonly site: Site; readonly action: 'quantize'; readonly scheme: Scheme; readonly rounding: RoundingAlgorithm; readonly reason?: string }
  | { readonly site: Site; readonly action: 'float'; readonly reason: string }

/**
 * Decides scheme and algorithm of every site: overrides, includes, excludes, and what the host can take.
 * @throws LOWBIT_NOT_FOUND for a pattern that matches nothing: a misspelt exclude would silently do nothing.
 */
export function planSites(host: ModelHost, format: string, options: QuantizeOptions): readonly SitePlan[] {
  const sites = host.sites()
  const fallback = checkPlugin(options.rounding ?? rtn(), 'rounding')
  checkPatterns(options, [...sites.map((s) => s.id), ...host.skipped().map((s) => s.id), ...host.activations().map((a) => a.id)])
  const included = options.include === undefined ? () => true : matchesAny(options.include)
  const excluded = matchesAny(options.exclude ?? [])
  const overrides = (options.overrides ?? []).map((o) => ({ ...o, test: nameMatcher(o.match) }))

  return sites.map((site): SitePlan => {
    if (!included(site.id)) return { site, action: 'float', reason: 'not included' }
    if (excluded(site.id)) return { site, action: 'float', reason: 'excluded' }
    let scheme: Scheme | null = options.weights
    let rounding = fallback
    for (const override of overrides) {
      if (!override.test(site.id)) continue
      if (override.weights !== undefined) scheme = override.weights
      if (override.rounding !== undefined) rounding = checkPlugin(override.rounding, 'rounding')
    }
    if (scheme === null) return { site, action: 'float', reason: 'override' }
    const acceptance = host.accepts(site.id, scheme, format)
    if (acceptance.ok) return { site, action: 'quantize', scheme, rounding }
    if (acceptance.instead === undefined) return { site, action: 'float', reason: acceptance.reason }
    return { site, action: 'quantize', scheme: acceptance.instead, rounding, reason: `${acceptance.reason}: ${describeScheme(acceptance.instead)} instead` }
  })
}

function checkPatterns(options: QuantizeOptions, names: readonly string[]): void {
  const patterns = [...(options.include ?? []), ...(options.exclude ?? []), ...(options.overrides ?? []).map((o) => o.match)]
  for (const pattern of patterns) {
    if (!names.some(nameMatcher(pattern))) {
      throw new LowbitError('LOWBIT_NOT_FOUND', {
        thing: `pattern ${JSON.stringify(pattern)}`,
        found: 'no site of that name',
        expected: names.length === 0 ? 'a model with sites' : `one of ${names.slice(0, 4).join(', ')}${names.length > 4 ? `, … (${names.length})` : ''}`,
        fix: '`lowbit inspect` lists the sites',
      })
    }
  }
}
