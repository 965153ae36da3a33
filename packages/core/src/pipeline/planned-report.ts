import { plannedBytes, type Plan, type PlannedSite } from '../plan/plan.js'
import type { ActivationReport, SiteReport } from '../report/report.js'

/** Lines of the report as the plan has them: what the file holds, in the bytes that it takes there. */
export function plannedSites(sites: readonly SiteReport[], plan: Plan): readonly SiteReport[] {
  const planned = new Map(plan.sites.map((p) => [p.site, p]))
  const weights = new Map(plan.weights.map((w) => [w.name, w]))
  return sites.map((report) => {
    const site = planned.get(report.id)
    const weight = weights.get(site?.weight ?? '')
    if (site === undefined) return report
    if (site.status === 'float' || weight === undefined) return inFloat(report, site)
    // A weight is counted where it is listed first; the others share its bytes.
    return { ...report, ...reasonOf(report, site), status: 'quantized', bytesAfter: weight.sites[0] === report.id ? plannedBytes(weight) : 0 }
  })
}

function inFloat({ id, kind, op, shape, bytesBefore, ...report }: SiteReport, site: PlannedSite): SiteReport {
  const reason = report.reason ?? site.reason
  return { id, kind, op, shape, status: 'float', bytesBefore, bytesAfter: bytesBefore, ...(reason === undefined ? {} : { reason }) }
}

function reasonOf({ reason }: SiteReport, site: PlannedSite): { readonly reason?: string } {
  const reasons = [reason, site.reason].filter((r) => r !== undefined)
  return reasons.length === 0 ? {} : { reason: reasons.join('; ') }
}

/** Activations that the file leaves in float, whatever was decided, say so. The others keep the type that was decided: a file may store its codes moved up. */
export function plannedActivations(activations: readonly ActivationReport[], plan: Plan): readonly ActivationReport[] {
  const planned = new Map(plan.activations.map((a) => [a.id, a]))
  return activations.map((report) => {
    const found = planned.get(report.id)
    if (report.status === 'float' || (found !== undefined && found.where !== 'nowhere')) return report
    const reason = found === undefined ? `the format ${plan.format} rounds no activations to known parameters` : found.reason
    const { id, min, max } = report
    return { id, status: 'float', reason, ...(min === undefined ? {} : { min }), ...(max === undefined ? {} : { max }) }
  })
}

/** The plan, with the reasons that the pipeline had for leaving sites in float. */
export function withReasons(plan: Plan, sites: readonly SiteReport[]): Plan {
  const reasons = new Map(sites.map((s) => [s.id, s.reason]))
  return { ...plan, sites: plan.sites.map((s) => (s.status === 'float' ? { ...s, reason: reasons.get(s.site) ?? s.reason ?? 'nothing was decided for it' } : s)) }
}
