import type { ModelHost } from '../contract/v2/host.js'
import { isLowbitError } from '../errors.js'
import type { SitePlan } from './plan.js'

/**
 * Leaves sites whose weight holds NaN or an infinity in float, with all that share it: one broken value must not end a run of minutes,
 * nor become a code.
 * @param warnings - told the site, the value and where it stands
 */
export async function leaveNonFinite(host: ModelHost, plans: readonly SitePlan[], warnings: string[]): Promise<readonly SitePlan[]> {
  const broken = new Map<string, string>()
  for (const plan of plans) {
    const { id, tiedTo } = plan.site
    if (plan.action === 'float' || tiedTo !== undefined) continue
    try {
      await host.readWeight(id)
    } catch (error) {
      if (!isLowbitError(error, 'LOWBIT_NONFINITE')) throw error
      broken.set(id, `its weight holds ${error.parts.found}`)
      warnings.push(`site '${id}' stays in float: its weight holds ${error.parts.found}; check the training or the export`)
    }
  }
  return broken.size === 0 ? plans : plans.map((plan) => withReason(plan, broken.get(plan.site.tiedTo ?? plan.site.id)))
}

function withReason(plan: SitePlan, reason: string | undefined): SitePlan {
  return reason === undefined ? plan : { site: plan.site, action: 'float', reason }
}
