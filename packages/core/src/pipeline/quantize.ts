import type { Artifact, BatchSource, ModelHost, OperatorChoice } from '../contract/v2/host.js'
import type { Json } from '../contract/v2/plugin.js'
import { isLowbitError, LowbitError, throwIfAborted } from '../errors.js'
import { fastLinAlg } from '../linalg/fast.js'
import { resumable } from '../linalg/resumable.js'
import { checkForFormat, checkQuantizeOptions } from '../options/check-quantize.js'
import type { Plan } from '../plan/plan.js'
import { checkPlugin } from '../plugin.js'
import type { Damage, PluginRecord, Report, SiteReport, TransformReport, ActivationReport } from '../report/report.js'
import { VERSION } from '../version.js'
import type { CalibrationIdentity } from './calibration-cache.js'
import type { Wanted } from './collect.js'
import type { StageContext } from './context.js'
import { damageWarnings, estimateDamage, measureDamage } from './damage.js'
import { leaveNonFinite } from './non-finite-weights.js'
import { Decisions } from './decisions.js'
import { DEFAULT_MAX_MEMORY } from './default-memory.js'
import type { QuantizeOptions } from './options.js'
import { requireSomething } from './nothing.js'
import { planSites, type SitePlan } from './plan.js'
import { plannedActivations, plannedSites, withReasons } from './planned-report.js'
import type { RescueOutcome } from './rescue-stage.js'
import { roundingStage, roundingWork } from './rounding-stage.js'
import { weightBytes } from './size.js'

export interface QuantizeResult {
  readonly artifact: Artifact
  readonly report: Report
  /** How the artifact stores the model, of hosts that plan. */
  readonly plan?: Plan
  /** `artifact.save`: whole or not at all. */
  save(path: string): Promise<void>
}

/**
 * Quantizes the model a host has opened: transforms, statistics, rounding, activations, emit, report.
 * The host keeps the decisions, so that `host.run` computes what the artifact will.
 *
 * @throws LOWBIT_ARGUMENT for options that are none, contradict one another or would do nothing; LOWBIT_NOTHING if nothing was quantized;
 * LOWBIT_ABORTED when the signal fires; LOWBIT_UNSUPPORTED, LOWBIT_CALIBRATION, LOWBIT_NOT_FOUND for what cannot be done.
 */
export async function quantize(opened: ModelHost, options: QuantizeOptions): Promise<QuantizeResult> {
  const host = checkPlugin(opened, 'host')
  checkQuantizeOptions(options)
  const transforms = (options.transforms ?? []).map((t) => checkPlugin(t, 'transform'))
  const format = options.format ?? host.supports.formats[0]
  if (format === undefined || !host.supports.formats.includes(format)) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `format ${String(format)}`, found: `${host.name} does not write it`, expected: host.supports.formats.join(', ') })
  }
  checkForFormat(host, format, options)
  const signal = options.signal
  const onProgress = options.onProgress ?? (() => {})
  await chooseOperators(host, options.activations?.operators)
  const warnings: string[] = []
  let plans = planSites(host, format, options)
  // Before the calibration, which may take long; without one the rounding finds out soon enough.
  if (options.calibration !== undefined) plans = await leaveNonFinite(host, plans, warnings)
  let quantized = plans.filter((p) => p.action === 'quantize')
  if (options.activations === undefined) requireSomething(quantized.length, host, plans, options)
  const calibration = options.calibration === undefined ? undefined : await (await import('./batches.js')).repeatable(options.calibration, options.maxMemory ?? DEFAULT_MAX_MEMORY)
  // What rounding without data does not take is loaded when it is asked for: a page need not.
  const transforming = transforms.length === 0 ? undefined : await import('./transform-stage.js')
  const activating = options.activations === undefined ? undefined : await import('./activation-stage.js')
  const maxMemory = await memoryOf([...roundingWork(host, quantized, options), ...transforms.flatMap((t) => transforming?.transformWork(host, t, quantized) ?? [])], options, calibration)
  if (options.activations !== undefined) activating?.requireActivationMemory(options.activations, maxMemory)
  const kept: { identity?: CalibrationIdentity } = {}
  const context: StageContext = {
    calibration,
    maxMemory,
    linalg: resumable(options.linalg ?? fastLinAlg),
    seed: options.seed ?? 0,
    signal,
    onProgress,
    observe: { maxMemory, onProgress, ...(signal === undefined ? {} : { signal }) },
    cache: calibration === undefined ? undefined : options.calibrationCache,
    saveCache: async () => {
      if (kept.identity !== undefined) await options.calibrationCache?.save(kept.identity)
    },
    decisions: new Decisions(host),
    warnings,
  }
  const milliseconds: Record<string, number> = {}
  const timed = async <T>(phase: string, work: () => Promise<T>): Promise<T> => {
    throwIfAborted(signal, `quantize (${phase})`)
    const start = performance.now()
    const value = await work()
    milliseconds[phase] = (milliseconds[phase] ?? 0) + performance.now() - start
    return value
  }

  clearDecisions(host)
  host.capabilities.plans?.target(format, options.settings)
  const transformReports: TransformReport[] = []
  const identity = await openKept(host, plans, transforms, format, options, context)
  if (identity !== undefined) kept.identity = identity
  for (const [index, transform] of transforms.entries()) {
    transformReports.push(...(await timed('transform', async () => (await transforming?.transformStage(host, transform, index, quantized, context)) ?? [])))
  }
  const round = (): Promise<ReadonlyMap<string, SiteReport>> => timed('round', () => roundingStage(host, quantized, options, context))
  const rounded = await round().catch(async (error: unknown) => {
    const finite = isLowbitError(error, 'LOWBIT_NONFINITE') ? await leaveNonFinite(host, plans, context.warnings) : plans
    if (finite === plans) throw error
    plans = finite
    quantized = plans.filter((p) => p.action === 'quantize')
    return round()
  })
  const wanted = options.activations
  let outcome: RescueOutcome = { activations: [], sites: new Map() }
  if (wanted !== undefined && activating !== undefined) {
    const { activationStage } = activating
    const { RescueStage } = await import('./rescue-stage.js')
    const calibrated = await timed('calibrate', () => activationStage(host, wanted, options, context))
    outcome = { ...outcome, activations: calibrated.activations }
    const rescue = new RescueStage(host, format, rounded, options.overrides ?? [], context)
    if (wanted.rescue !== false) outcome = await timed('rescue', () => rescue.run(calibrated, () => activationStage(host, wanted, options, context, 'activations behind rescued weights')))
  }
  const { activations, sites } = outcome
  requireSomething([...new Map([...rounded, ...sites]).values(), ...activations].filter((r) => r.status === 'quantized').length, host, plans, options)
  await context.saveCache()

  const plan = host.capabilities.plans?.plan()
  const plugins = pluginRecords(host, plans, transforms, options.activations?.observer)
  const described = describeOptions(format, options)
  const artifact = await timed('emit', () =>
    host.emit(format, {
      provenance: { recipe: { lowbit: 1, core: VERSION, plugins: plugins.map((p) => ({ ...p })), options: described } },
      ...(options.settings === undefined ? {} : { settings: options.settings }),
      ...(signal === undefined ? {} : { signal }),
    }),
  )
  const all = new Map([...rounded, ...sites])
  const damage = outcome.damage ?? await damageOf(host, [...all.values()], options, context)
  context.warnings.push(...damageWarnings(damage, [...all.values()], wanted !== undefined))
  if (artifact.size >= host.size()) context.warnings.push(`the file is not smaller: ${host.size()} → ${artifact.size} bytes`)
  const report = makeReport({ host, plan, format, artifact, plans, rounded: all, damage, activations, transformReports, plugins, described, warnings: [...context.warnings, ...artifact.notes], milliseconds })
  return { artifact, report, ...(plan === undefined ? {} : { plan: withReasons(plan, report.sites) }), save: (path) => artifact.save(path) }
}

/** What an earlier run decided is not part of this one. */
function clearDecisions(host: ModelHost): void {
  for (const site of host.sites()) if (site.tiedTo === undefined) host.assign(site.id, null)
  for (const { id } of host.activations()) host.assignActivation(id, null)
}

/** Measured where it costs little, whatever memory is asked for, and nothing else measures it: static models have been looked at by the search for fallbacks. */
async function damageOf(host: ModelHost, sites: readonly SiteReport[], { activations }: QuantizeOptions, { calibration, cache, signal }: StageContext): Promise<Damage | undefined> {
  if (calibration === undefined) return estimateDamage(sites)
  // Whoever keeps statistics does so that no pass is made over the data.
  if (cache !== undefined) return undefined
  if ((activations !== undefined && activations.rescue !== false) || host.size() > DEFAULT_MAX_MEMORY) return undefined
  return measureDamage(host, calibration, signal)
}

/** Bytes for statistics, as `memoryFor` has it; what needs none has nothing to plan. */
async function memoryOf(work: readonly Wanted[], { maxMemory }: QuantizeOptions, calibration: BatchSource | undefined): Promise<number> {
  if (work.every((w) => w.needs.length === 0)) return maxMemory ?? DEFAULT_MAX_MEMORY
  const [{ memoryFor }, { batchCount }] = await Promise.all([import('./collect.js'), import('./batches.js')])
  return memoryFor(work, maxMemory, batchCount(calibration))
}

async function chooseOperators(host: ModelHost, choice: OperatorChoice | undefined): Promise<void> {
  const { operators } = host.capabilities
  if (operators !== undefined) return operators.choose(choice ?? 'default')
  if (choice === undefined || choice === 'default') return
  throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'activations.operators', found: `${host.name} has no choice of operators`, expected: "'default'" })
}

/**
 * Holds what is kept between runs, statistics and rounded sites, to what it depends on. Of the settings, the ranges and types of
 * activations are not among that.
 */
async function openKept(host: ModelHost, plans: readonly SitePlan[], transforms: readonly PluginRecord[], format: string, options: QuantizeOptions, context: StageContext): Promise<CalibrationIdentity | undefined> {
  const { calibrationCache: cache, jobs } = options
  const { calibration, signal, linalg } = context
  if (calibration === undefined || (cache === undefined && jobs?.open === undefined)) return undefined
  const [{ digestBatches }, { fingerprintOf, openCache }] = await Promise.all([import('../digest/digest-batches.js'), import('./calibration-cache.js')])
  const decisive = Object.fromEntries(Object.entries(describeOptions(format, options)).filter(([key]) => key !== 'activations' && key !== 'settings'))
  const plugins = pluginRecords(host, plans, transforms)
  const data = cache?.data ?? jobs?.data ?? (await digestBatches(calibration, signal))
  if (jobs?.open !== undefined) {
    await jobs.open({
      model: await fingerprintOf(host, 'jobs'),
      data,
      made: [`core ${VERSION}`, ...plugins.map((p) => `${p.name}@${p.version}`), linalg.name],
      options: { ...decisive, seed: context.seed, plugins: plugins.map((p) => ({ ...p })) },
    })
  }
  return cache === undefined ? undefined : openCache(cache, { model: await fingerprintOf(host, 'calibrationCache'), data, made: `${host.name}@${host.version}, core ${VERSION}`, settings: { ...decisive, plugins: plugins.map((p) => ({ ...p })) } })
}

function pluginRecords(host: ModelHost, plans: readonly SitePlan[], transforms: readonly PluginRecord[], observer?: PluginRecord): readonly PluginRecord[] {
  const records = new Map<string, PluginRecord>()
  const add = ({ name, version, config }: PluginRecord): void => {
    records.set(`${name}@${version} ${JSON.stringify(config)}`, { name, version, config })
  }
  add(host)
  transforms.forEach(add)
  for (const plan of plans) if (plan.action === 'quantize') add(plan.rounding)
  if (observer !== undefined) add(observer)
  return [...records.values()]
}

/** The options that change the result, as JSON. */
function describeOptions(format: string, options: QuantizeOptions): { readonly [key: string]: Json } {
  const overrides = (options.overrides ?? []).map(({ match, weights, rounding, activation }) =>
    plainObject({ match, weights, rounding: rounding === undefined ? undefined : { name: rounding.name, version: rounding.version, config: rounding.config }, activation }),
  )
  return plainObject({
    format,
    weights: options.weights,
    activations: describeActivations(options.activations),
    include: options.include,
    exclude: options.exclude,
    overrides: overrides.length === 0 ? undefined : overrides,
    mode: options.mode,
    biasCorrection: options.biasCorrection,
    seed: options.seed,
    settings: options.settings,
  })
}

function describeActivations(activations: QuantizeOptions['activations']): object | undefined {
  if (activations?.observer === undefined) return activations
  const { observer: { name, version, config }, ...rest } = activations
  return { ...rest, observer: { name, version, config } }
}

/** Drops what is undefined and turns the rest into plain JSON. */
function plainObject(value: object): { readonly [key: string]: Json } {
  return JSON.parse(JSON.stringify(value)) as { readonly [key: string]: Json }
}

interface ReportParts {
  readonly host: ModelHost
  readonly plan: Plan | undefined
  readonly format: string
  readonly artifact: Artifact
  readonly plans: readonly SitePlan[]
  readonly rounded: ReadonlyMap<string, SiteReport>
  readonly damage: Damage | undefined
  readonly activations: readonly ActivationReport[]
  readonly transformReports: readonly TransformReport[]
  readonly plugins: readonly PluginRecord[]
  readonly described: Json
  readonly warnings: readonly string[]
  readonly milliseconds: Readonly<Record<string, number>>
}

function makeReport(parts: ReportParts): Report {
  const sites = parts.plans.map((plan): SiteReport => {
    const { site } = plan
    const done = parts.rounded.get(site.id)
    if (done !== undefined) return done
    const bytes = site.tiedTo === undefined ? weightBytes(site) : 0
    const reason = plan.reason ?? 'shares its weight with a site that stays in float'
    return { id: site.id, kind: site.kind, op: site.op, shape: [site.weight.rows, site.weight.columns], status: 'float', reason, bytesBefore: bytes, bytesAfter: bytes }
  })
  return {
    lowbit: 1,
    core: VERSION,
    format: parts.format,
    sizeBefore: parts.host.size(),
    sizeAfter: parts.artifact.size,
    plugins: parts.plugins,
    options: parts.described,
    sites: parts.plan === undefined ? sites : plannedSites(sites, parts.plan),
    activations: parts.plan === undefined ? parts.activations : plannedActivations(parts.activations, parts.plan),
    transforms: parts.transformReports,
    skipped: parts.host.skipped(),
    warnings: parts.warnings,
    ...(parts.damage === undefined ? {} : { damage: parts.damage }),
    milliseconds: parts.milliseconds,
  }
}
