import type { JobStatistics, RoundingJob, RoundingResult } from '../contract/v2/algorithm.js'
import type { ModelHost, Site, SiteWeight } from '../contract/v2/host.js'
import type { LinAlg } from '../contract/v2/linalg.js'
import type { StatisticName } from '../contract/v2/statistics.js'
import { checkQTensor } from '../qtensor.js'
import { dequantizeSlices } from '../reference/dequantize.js'
import type { SiteReport } from '../report/report.js'
import { breathe } from '../slices/breath.js'
import { inSlices, type Slices } from '../slices/slices.js'
import type { Wanted } from './collect.js'
import type { StageContext } from './context.js'
import type { JobResult, JobStore, QuantizeOptions, ReaderResult } from './options.js'
import { outputSqnrSlices } from './output-error.js'
import { inParallel } from './parallel.js'
import type { SitePlan } from './plan.js'
import { mergeStatistics, readersOf, withLookups } from './readers.js'
import { qTensorBytes, weightBytes } from './size.js'
import { weightError } from './weight-error.js'

type Quantized = Extract<SitePlan, { action: 'quantize' }>
type Work = Wanted & { readonly readers: readonly Site[]; readonly plan: Quantized; readonly stored: JobResult | undefined }

/** Rounds every planned site and assigns it, a chunk of sites (or a block, in sequential mode) at a time. */
export async function roundingStage(host: ModelHost, plans: readonly Quantized[], options: QuantizeOptions, context: StageContext): Promise<ReadonlyMap<string, SiteReport>> {
  const reports = new Map<string, SiteReport>()
  /** By site: those that share a weight read different inputs, and their outputs suffer differently. */
  const outputs = new Map<string, number>()
  const owners = plans.filter((p) => p.site.tiedTo === undefined)
  const stages = options.mode === 'sequential' ? byBlock(owners) : [owners]
  let done = 0
  for (const [index, stage] of stages.entries()) {
    const work: Work[] = []
    for (const wanted of roundingWork(host, stage, options, index > 0)) {
      const stored = await takeUp(wanted, options)
      work.push({ ...wanted, needs: stored === undefined ? wanted.needs : [], stored })
    }
    // Nothing is assigned before the stage ends: what a site sees must not depend on how memory cut the work.
    const decisions: (() => Promise<void>)[] = []
    const statistics = await statisticsFor(host, work, `round ${index}`, context)
    for (const chunk of statistics.chunks) {
      const each = await statistics.collect(chunk)
      const finished = await inParallel(chunk, options.runner?.concurrency ?? 1, async ({ plan, readers, stored }, i) => {
        const { site } = plan
        await breathe(context.signal, `rounding of ${site.id}`)
        context.onProgress({ phase: 'round', done: done++, total: owners.length, item: site.id })
        return { plan, result: stored ?? (await roundSite(host, plan, readers, each[i], context, options)) }
      })
      for (const { plan, result } of finished) {
        const { id } = plan.site
        reports.set(id, siteReport(plan, result))
        for (const { id: reader, outputSqnr } of result.readers) if (outputSqnr !== undefined) outputs.set(reader, outputSqnr)
        context.warnings.push(...(result.warnings ?? []).map((w) => `${id}: ${w}`))
        decisions.push(async () => {
          context.decisions.assign(id, result.q)
          for (const { id: reader, meanShift } of result.readers) if (options.biasCorrection && meanShift !== undefined) await host.addBias(reader, meanShift)
        })
      }
    }
    for (const decide of decisions) await decide()
  }
  for (const plan of plans) {
    const { id, kind, op, tiedTo } = plan.site
    const owner = reports.get(tiedTo ?? id)
    if (owner === undefined) continue
    const outputSqnr = outputs.get(id)
    const output = outputSqnr === undefined ? {} : { outputSqnr }
    reports.set(id, tiedTo === undefined ? { ...owner, ...output } : { ...owner, id, kind, op, ...output, bytesBefore: 0, bytesAfter: 0, reason: `shares the weight of ${owner.id}` })
  }
  context.onProgress({ phase: 'round', done: owners.length, total: owners.length })
  return reports
}

/** The chunks whose statistics fit the memory, and how to take them; work that needs none is one chunk. */
async function statisticsFor(host: ModelHost, work: readonly Work[], stage: string, context: StageContext): Promise<{ readonly chunks: readonly (readonly Work[])[]; collect(chunk: readonly Work[]): Promise<readonly ReadonlyMap<string, JobStatistics>[]> }> {
  if (work.every((w) => w.needs.length === 0)) {
    return { chunks: work.length === 0 ? [] : [work], collect: (chunk) => Promise.resolve(chunk.map(({ readers }) => new Map(readers.map((site) => [site.id, {}])))) }
  }
  const [{ chunkByMemory, collectEach }, { batchCount }] = await Promise.all([import('./collect.js'), import('./batches.js')])
  return {
    chunks: chunkByMemory(work, context.maxMemory, batchCount(context.calibration)),
    async collect(chunk) {
      const each = await collectEach(host, chunk, context.calibration, context.observe, { stage, cache: context.cache })
      await context.saveCache()
      return each
    },
  }
}

/**
 * What the rounding of each site that owns its weight, and what follows it, needs of the inputs that the weight is read with.
 * @param behind - something before these sites is rounded already
 */
export function roundingWork(host: ModelHost, plans: readonly Quantized[], options: QuantizeOptions, behind = options.mode === 'sequential'): readonly (Wanted & { readonly readers: readonly Site[]; readonly plan: Quantized })[] {
  const sites = host.sites()
  return plans.filter((p) => p.site.tiedTo === undefined).map((plan) => {
    const readers = readersOf(sites, plan.site)
    return { site: plan.site, readers, needs: readers.length > 0 ? needsOf(host, plan, options, behind) : [], plan }
  })
}

/** The result that a run which was stopped has left behind, if it holds all that this one asks for. */
async function takeUp({ plan, readers, needs }: Wanted & { readonly plan: Quantized; readonly readers: readonly Site[] }, options: QuantizeOptions): Promise<JobResult | undefined> {
  const stored = await keeper(plan, options)?.load(plan.site.id)
  // A store may have been filled by other hands than its own.
  if (typeof stored?.weightSqnr !== 'number' || !Array.isArray(stored.readers)) return undefined
  const of = (site: Site): ReaderResult | undefined => stored.readers.find((r) => r.id === site.id)
  return needs.includes('mean') && options.biasCorrection === true && readers.some((r) => of(r)?.meanShift === undefined) ? undefined : stored
}

/** Where a site's result is kept. What needs no data is computed again sooner than it is read back. */
function keeper(plan: Quantized, options: QuantizeOptions): JobStore | undefined {
  return plan.rounding.needs(plan.scheme).length === 0 ? undefined : options.jobs
}

function needsOf(host: ModelHost, plan: Quantized, options: QuantizeOptions, behind: boolean): readonly StatisticName[] {
  const needs = new Set(plan.rounding.needs(plan.scheme))
  if (behind) for (const name of plan.rounding.sequential?.(plan.scheme) ?? []) if (host.supports.statistics.includes(name)) needs.add(name)
  if (options.biasCorrection) needs.add('mean')
  return [...needs]
}

function byBlock(plans: readonly Quantized[]): readonly (readonly Quantized[])[] {
  const blocks = new Map<number, Quantized[]>()
  for (const plan of plans) {
    const block = blocks.get(plan.site.block)
    if (block === undefined) blocks.set(plan.site.block, [plan])
    else block.push(plan)
  }
  return [...blocks.entries()].sort((a, b) => a[0] - b[0]).map(([, block]) => block)
}

async function roundSite(host: ModelHost, plan: Quantized, readers: readonly Site[], each: ReadonlyMap<string, JobStatistics>, context: StageContext, options: QuantizeOptions): Promise<JobResult> {
  const { site, scheme, rounding } = plan
  const { signal, linalg } = context
  const thing = `rounding of ${site.id}`
  const weight = await host.readWeight(site.id)
  const products = mergeStatistics([...each.values()])
  const job: RoundingJob = {
    // A table that is the output layer too is rounded for what multiplies it.
    site: { id: site.id, kind: readers[0]?.kind ?? 'embedding', weight: site.weight },
    weight,
    scheme,
    statistics: site.kind === 'embedding' ? await inSlices(withLookups(products, weight, linalg), signal, thing) : products,
    linalg,
    seed: context.seed,
    ...(signal === undefined ? {} : { signal }),
  }
  const rounded = await (options.runner?.run(rounding, job) ?? rounding.round(job))
  checkQTensor(rounded.q, `${rounding.name} at ${site.id}`)
  const result = await inSlices(measured(plan, weight.data, rounded, each, linalg, options.biasCorrection === true), signal, thing)
  await keeper(plan, options)?.save(site.id, result)
  return result
}

/** A rounded weight with all that the report and bias correction say of it: the statistics are needed no more. */
function* measured({ site }: Quantized, weight: Float32Array, rounded: RoundingResult, each: ReadonlyMap<string, JobStatistics>, linalg: LinAlg, biasCorrection: boolean): Slices<JobResult> {
  const { sqnr } = yield* weightError(weight, rounded.q)
  const readers: ReaderResult[] = []
  let values: Float32Array | undefined
  for (const [id, { gram, mean }] of each) {
    if (gram === undefined && !(biasCorrection && mean !== undefined)) continue
    values ??= (yield* dequantizeSlices(rounded.q)).data
    const output = gram === undefined ? undefined : yield* outputSqnrSlices(weight, values, site.weight.rows, gram, linalg)
    const shift = biasCorrection && mean !== undefined ? yield* meanShift(site.weight, weight, values, mean.data) : undefined
    readers.push({ id, ...(output === undefined ? {} : { outputSqnr: output }), ...(shift === undefined ? {} : { meanShift: shift }) })
  }
  return { ...rounded, weightSqnr: sqnr, readers }
}

/** `(W − Ŵ)·mean(x)`, `[N]`: how far the mean output moved; added to the bias it takes the move back. */
function* meanShift({ rows, columns, groups }: SiteWeight, weight: Float32Array, quantized: Float32Array, mean: Float32Array): Slices<Float32Array> {
  const shift = new Float32Array(rows)
  for (let n = 0; n < rows; n++) {
    const from = Math.floor(n / (rows / groups)) * columns
    let sum = 0
    for (let k = 0; k < columns; k++) sum += (weight[n * columns + k] - quantized[n * columns + k]) * mean[from + k]
    shift[n] = sum
    yield
  }
  return shift
}

function siteReport(plan: Quantized, result: JobResult): SiteReport {
  const { site, rounding, reason } = plan
  const { rows, columns } = site.weight
  return {
    id: site.id,
    kind: site.kind,
    op: site.op,
    shape: [rows, columns],
    status: 'quantized',
    ...(reason === undefined ? {} : { reason }),
    scheme: result.q.scheme,
    algorithm: `${rounding.name}@${rounding.version}`,
    weightSqnr: result.weightSqnr,
    bytesBefore: weightBytes(site),
    bytesAfter: qTensorBytes(result.q),
    ...(result.notes === undefined ? {} : { notes: result.notes }),
  }
}
