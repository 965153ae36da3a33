import type { ActivationParams, ModelHost } from '../contract/v2/host.js'
import { Sha256 } from '../digest/sha256.js'
import type { QTensor } from '../qtensor.js'
import type { ActivationReport, Damage, SiteReport } from '../report/report.js'
import { roundToNearest } from '../rounding/nearest.js'
import type { Scheme } from '../scheme.js'
import type { Rescued, RescueResult } from '../rescue/result.js'
import { BATCHES, findRuinous, RUINED, type RescueSearch } from '../rescue/search.js'
import { batchCount } from './batches.js'
import type { StageContext } from './context.js'
import { nameMatcher } from './match.js'
import type { Override } from './options.js'
import { qTensorBytes, weightBytes } from './size.js'

/** What calibration decided, and the 16-bit parameters that its ranges would give. */
export interface Calibrated {
  readonly activations: readonly ActivationReport[]
  readonly wide: ReadonlyMap<string, ActivationParams>
}

/** What calibration and rescue leave behind for the report. */
export interface RescueOutcome {
  readonly activations: readonly ActivationReport[]
  /** By id, where they changed. */
  readonly sites: ReadonlyMap<string, SiteReport>
  /** What was measured last, where a search was made. */
  readonly damage?: Damage
}

const WIDE: Scheme = { dtype: 'int16', granularity: { kind: 'channel', axis: 0 }, symmetric: true }

const NONE: Calibrated = { activations: [], wide: new Map() }

/**
 * Finds the few activations and weights whose rounding ruins the model, gives them 16 bits or float, and says so in their lines of
 * the report. What an override decided is left alone.
 *
 * Activations are calibrated behind rounded weights. Where a weight is what ruined the model, their ranges are wrong too: then the
 * weights are looked at alone, and the activations calibrated again.
 */
export class RescueStage {
  readonly #host: ModelHost
  readonly #format: string
  readonly #context: StageContext
  /** Sites whose weights may be changed. */
  readonly #weights: readonly string[]
  readonly #sites: Map<string, SiteReport>
  readonly #changed = new Map<string, SiteReport>()

  constructor(host: ModelHost, format: string, sites: ReadonlyMap<string, SiteReport>, overrides: readonly Override[], context: StageContext) {
    this.#host = host
    this.#format = format
    this.#context = context
    this.#sites = new Map(sites)
    const isDecided = overrides.filter((o) => o.weights !== undefined).map((o) => nameMatcher(o.match))
    this.#weights = host.sites().filter(({ id, kind, tiedTo }) => (kind === 'linear' || kind === 'conv') && tiedTo === undefined && sites.get(id)?.status === 'quantized' && !isDecided.some((test) => test(id))).map((s) => s.id)
  }

  /** @param recalibrate - takes the ranges of the activations again */
  async run(calibrated: Calibrated, recalibrate: () => Promise<Calibrated>): Promise<RescueOutcome> {
    const isPossible = this.#context.calibration !== undefined && calibrated.activations.some((a) => a.status === 'quantized')
    const first = isPossible ? await this.#find(calibrated) : undefined
    if (first === undefined || (first.rescued.length === 0 && first.before >= RUINED)) return this.#outcome(calibrated.activations, first?.before)
    const isBehindWeights = first.before < RUINED && (first.after < RUINED || first.rescued.some((r) => r.kind === 'weight'))
    if (!isBehindWeights || !(await this.#rescueWeights(calibrated))) return this.#outcome(await this.#finish(calibrated, first, first.before), first.after)
    const again = await recalibrate()
    const second = await this.#find(again)
    return this.#outcome(await this.#finish(again, second, first.before), second.after)
  }

  #outcome(activations: readonly ActivationReport[], sqnr: number | undefined): RescueOutcome {
    return { activations, sites: this.#changed, ...(sqnr === undefined ? {} : { damage: { sqnr, batches: Math.min(BATCHES, batchCount(this.#context.calibration) ?? BATCHES) } }) }
  }

  /** Looks at the weights alone, if they alone ruin the model. @returns false, and nothing changed, if they do not */
  async #rescueWeights(calibrated: Calibrated): Promise<boolean> {
    const params = new Map(calibrated.activations.flatMap((a) => (isQuantized(a) ? [[a.id, { dtype: a.dtype, scale: a.scale, zeroPoint: a.zeroPoint }] as const] : [])))
    for (const id of params.keys()) this.#context.decisions.assignActivation(id, null)
    const result = await this.#find(NONE, { enough: RUINED, batches: 4 })
    await this.#apply(NONE, result)
    if (result.rescued.length > 0) return true
    for (const [id, before] of params) this.#context.decisions.assignActivation(id, before)
    return false
  }

  async #finish(calibrated: Calibrated, result: RescueResult, before: number): Promise<readonly ActivationReport[]> {
    const activations = await this.#apply(calibrated, result)
    this.#context.warnings.push(`output signal over noise, in calibration: ${before.toFixed(1)} dB before the rescue, ${result.after.toFixed(1)} dB after it`)
    return activations
  }

  async #find({ activations, wide }: Calibrated, limits: Pick<RescueSearch, 'enough' | 'batches'> = {}): Promise<RescueResult> {
    const { calibration = [], cache, signal, onProgress, decisions } = this.#context
    const key = new Sha256().update(JSON.stringify([activations, [...this.#sites].map(([id, s]) => [id, s.status, s.scheme])])).hex()
    const search = { ...limits, host: this.#host, decisions, points: this.#host.activations(), wideActivations: wide, weights: this.#weights, wideWeight: (site: string) => this.#wideWeight(site), signal, onProgress }
    const result = cache?.rescue(key) ?? (await findRuinous(search, calibration))
    cache?.setRescue(key, result)
    for (const warning of result.warnings ?? []) if (!this.#context.warnings.includes(warning)) this.#context.warnings.push(warning)
    return result
  }

  async #apply({ activations, wide }: Calibrated, { rescued }: RescueResult): Promise<readonly ActivationReport[]> {
    const changed = new Map<string, ActivationReport>()
    for (const found of rescued) {
      this.#context.warnings.push(sentence(found))
      const reason = `rescued, now ${found.to}: it made ${percent(found.share)} of the output noise`
      for (const id of found.points) {
        if (found.kind === 'weight') {
          await this.#widen(id, found.to, reason)
          continue
        }
        const params = found.to === '16-bit' ? (wide.get(id) ?? null) : null
        this.#context.decisions.assignActivation(id, params)
        const { min, max } = activations.find((a) => a.id === id) ?? {}
        const range = min === undefined || max === undefined ? {} : { min, max }
        changed.set(id, params === null ? { id, status: 'float', reason } : { id, status: 'quantized', ...params, ...range, reason })
      }
    }
    return activations.map((a) => changed.get(a.id) ?? a)
  }

  async #widen(owner: string, to: Rescued['to'], reason: string): Promise<void> {
    const q = to === '16-bit' ? ((await this.#wideWeight(owner)) ?? null) : null
    this.#context.decisions.assign(owner, q)
    for (const site of this.#host.sites().filter((s) => (s.tiedTo ?? s.id) === owner)) {
      const report = siteReport(this.#sites.get(site.id), site, q, reason)
      this.#sites.set(site.id, report)
      this.#changed.set(site.id, report)
    }
  }

  /** Undefined where the format takes no codes of 16 bits. */
  async #wideWeight(site: string): Promise<QTensor | undefined> {
    if (!this.#host.accepts(site, WIDE, this.#format).ok) return undefined
    const { data, shape: [rows, columns] } = await this.#host.readWeight(site)
    return roundToNearest(data, rows, columns, WIDE)
  }
}

function isQuantized(report: ActivationReport): report is ActivationReport & ActivationParams {
  return report.status === 'quantized'
}

function siteReport(before: SiteReport | undefined, { id, kind, op, weight, tiedTo }: ReturnType<ModelHost['sites']>[number], q: QTensor | null, reason: string): SiteReport {
  const bytes = tiedTo === undefined ? weightBytes({ weight }) : 0
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

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`
}
