import type { ModelHost } from '../contract/v2/host.js'
import { LowbitError } from '../errors.js'
import type { QuantizeOptions } from './options.js'
import type { SitePlan } from './plan.js'

/** Reasons that are named; the rest is counted. */
const REASONS = 4

/**
 * Nothing quantized is a failure, not a model that happens to be as large as before.
 * @throws LOWBIT_NOTHING with what was left alone and why, unless `allowNothing` asks for it
 */
export function requireSomething(quantized: number, host: Pick<ModelHost, 'skipped' | 'saved'>, plans: readonly SitePlan[], { allowNothing = false }: QuantizeOptions): void {
  if (quantized > 0 || allowNothing || host.saved() > 0) return
  const left = [...plans.map(({ site, reason }) => ({ id: site.id, reason: reason ?? 'its rounding ruined the model' })), ...host.skipped()]
  const byReason = new Map<string, string[]>()
  for (const { id, reason } of left) byReason.set(reason, [...(byReason.get(reason) ?? []), id])
  const sentences = [...byReason].slice(0, REASONS).map(([reason, ids]) => `'${ids[0] ?? ''}'${ids.length === 1 ? '' : ` and ${ids.length - 1} more`}: ${reason}`)
  throw new LowbitError('LOWBIT_NOTHING', {
    thing: 'quantize',
    found: left.length === 0 ? 'nothing was quantized: the model has no weight of a product, convolution or lookup' : `nothing was quantized: ${sentences.join('; ')}${byReason.size > REASONS ? `; and ${byReason.size - REASONS} other reasons` : ''}`,
    expected: 'at least one site with codes',
    fix: 'choose another format or type, or ask for it with allowNothing (command line: --allow-nothing)',
  })
}
