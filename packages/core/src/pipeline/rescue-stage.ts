import type { ActivationParams, ModelHost, Rescued, RescueResult } from '../contract/host.js'
import { Sha256 } from '../digest/sha256.js'
import type { QTensor } from '../qtensor.js'
import type { ActivationReport, SiteReport } from '../report/report.js'
import { roundToNearest } from '../rounding/rtn.js'
import type { Scheme } from '../scheme.js'
import type { StageContext } from './context.js'
import { nameMatcher } from './match.js'
import type { Override } from './options.js'
import { qTensorBytes } from './size.js'

/** What calibration decided, and the 16-bit parameters that its ranges would give. */
export interface Calibrated {
  readonly activations: readonly ActivationReport[]
  readonly wide: ReadonlyMap<string, ActivationParams>
}

/** What a rescue changed in the report. */
export interface RescueOutcome {
  readonly activations: readonly ActivationReport[]
  /** By id, where they changed. */
  readonly sites: ReadonlyMap<string, SiteReport>
}

const WIDE: Scheme = { dtype: 'int16', granularity: { kind: 'channel', axis: 0 }, symmetric: true }

/**
 * Finds the few activations and weights whose rounding ruins the model, gives them 16 bits or float, and says so in their lines of
 * the report. What an override decided is left alone.
 */
export async function rescueStage(host: ModelHost, { activations, wide }: Calibrated, sites: ReadonlyMap<string, SiteReport>, overrides: readonly Override[], context: StageContext): Promise<RescueOutcome> {
  const unchanged = { activations, sites: new Map() }
  const { calibration, cache, signal, onProgress } = context
  if (host.rescue === undefined || calibration === undefined || !activations.some((a) => a.status === 'quantized')) return unchanged
  const wideWeight = async (site: string): Promise<QTensor> => {
    const { data, shape: [rows, columns] } = await host.readWeight(site)
    return roundToNearest(data, rows, columns, WIDE)
  }
  const isDecided = overrides.filter((o) => o.weights !== undefined).map((o) => nameMatcher(o.match))
  const weights = host.sites().map((s) => s.id).filter((id) => sites.get(id)?.status === 'quantized' && !isDecided.some((test) => test(id)))
  const key = new Sha256().update(JSON.stringify([activations, [...sites].map(([id, s]) => [id, s.scheme])])).hex()
  const result = cache?.rescue(key) ?? (await host.rescue(calibration, { onProgress, wideActivations: wide, weights, wideWeight, ...(signal === undefined ? {} : { signal }) }))
  cache?.setRescue(key, result)
  const { before, after, rescued } = result
  if (rescued.length === 0) return unchanged

  const changed = { activations: new Map<string, ActivationReport>(), sites: new Map<string, SiteReport>() }
  for (const found of rescued) {
    context.warnings.push(sentence(found))
    const reason = `rescued, now ${found.to}: it made ${percent(found.share)} of the output noise`
    for (const id of found.points) {
      if (found.kind === 'activations') {
        const params = found.to === '16-bit' ? (wide.get(id) ?? null) : null
        host.assignActivation(id, params)
        const { min, max } = activations.find((a) => a.id === id) ?? {}
        const range = min === undefined || max === undefined ? {} : { min, max }
        changed.activations.set(id, params === null ? { id, status: 'float', reason } : { id, status: 'quantized', ...params, ...range, reason })
        continue
      }
      const q = found.to === '16-bit' ? await wideWeight(id) : null
      host.assign(id, q)
      for (const site of host.sites().filter((s) => (s.tiedTo ?? s.id) === id)) changed.sites.set(site.id, siteReport(sites.get(site.id), site, q, reason))
    }
  }
  context.warnings.push(describeRescue(before, after))
  return { activations: activations.map((a) => changed.activations.get(a.id) ?? a), sites: changed.sites }
}

function siteReport(before: SiteReport | undefined, { id, kind, op, weight, tiedTo }: ReturnType<ModelHost['sites']>[number], q: QTensor | null, reason: string): SiteReport {
  const bytes = tiedTo === undefined ? weight.rows * weight.columns * 4 : 0
  const facts = { id, kind, op, shape: [weight.rows, weight.columns], bytesBefore: bytes, reason } as const
  if (q === null) return { ...facts, status: 'float', bytesAfter: bytes }
  return { ...facts, status: 'quantized', scheme: q.scheme, bytesAfter: tiedTo === undefined ? qTensorBytes(q) : 0, ...(before?.algorithm === undefined ? {} : { algorithm: before.algorithm }) }
}

function sentence({ kind, points, to, share, bytes }: Rescued): string {
  const names = points.length > 3 ? `'${points[0] ?? ''}' and ${points.length - 1} that share its scale` : points.map((p) => `'${p}'`).join(', ')
  const stays = to === 'float' ? 'stays in float' : 'gets 16 bits'
  const cost = bytes === 0 ? '' : `, for ${bytes} bytes more`
  return `${kind === 'weight' ? 'weight of' : 'activation'} ${names} ${stays}${cost}: its rounding made ${percent(share)} of the output noise`
}

function describeRescue(before: number, after: number): string {
  return `output signal over noise, in calibration: ${before.toFixed(1)} dB before the rescue, ${after.toFixed(1)} dB after it`
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`
}

/** True for a value that has the form of a rescue's result: what a file gave back. */
export function isRescueResult(value: unknown): value is RescueResult {
  if (!isObject(value) || !isNumber(value['before']) || !isNumber(value['after'])) return false
  const { rescued } = value
  return Array.isArray(rescued) && rescued.every((r: unknown) => isObject(r) && (r['kind'] === 'activations' || r['kind'] === 'weight') && (r['to'] === '16-bit' || r['to'] === 'float') && isNumber(r['share']) && isNumber(r['bytes']) && Array.isArray(r['points']) && r['points'].every((p) => typeof p === 'string'))
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}
