import type { JobStatistics, RoundingJob, RoundingResult } from '../contract/v2/algorithm.js'
import type { ModelHost, Site } from '../contract/v2/host.js'
import type { LinAlg } from '../contract/v2/linalg.js'
import type { StatisticName } from '../contract/v2/statistics.js'
import { throwIfAborted } from '../errors.js'
import { checkQTensor, type QTensor } from '../qtensor.js'
import { dequantize } from '../reference/dequantize.js'
import type { SiteReport } from '../report/report.js'
import type { HostTensor } from '../tensor.js'
import { chunkByMemory, collectEach, type Wanted } from './collect.js'
import type { StageContext } from './context.js'
import type { JobStore, QuantizeOptions } from './options.js'
import { outputSqnr } from './output-error.js'
import { inParallel } from './parallel.js'
import { mergeStatistics, readersOf, withLookups } from './readers.js'
import type { SitePlan } from './plan.js'
import { qTensorBytes, weightBytes } from './size.js'
import { weightError } from './weight-error.js'

type Quantized = Extract<SitePlan, { action: 'quantize' }>
type Work = Wanted & { readonly readers: readonly Site[]; readonly plan: Quantized; readonly stored: RoundingResult | undefined }

/** Rounds every planned site and assigns it, a chunk of sites (or a block, in sequential mode) at a time. */
export async function roundingStage(host: ModelHost, plans: readonly Quantized[], options: QuantizeOptions, context: StageContext): Promise<ReadonlyMap<string, SiteReport>> {
  const reports = new Map<string, SiteReport>()
  /** By site: those that share a weight read different inputs, and their outputs suffer differently. */
  const outputs = new Map<string, number>()
  const owners = plans.filter((p) => p.site.tiedTo === undefined)
  const stages = options.mode === 'sequential' ? byBlock(owners) : [owners]
  const sites = host.sites()
  let done = 0
  for (const [index, stage] of stages.entries()) {
    const work: Work[] = []
    for (const plan of stage) {
      const stored = await keeper(plan, options)?.load(plan.site.id)
      const readers = readersOf(sites, plan.site)
      work.push({ site: plan.site, readers, needs: stored === undefined && readers.length > 0 ? needsOf(plan, options) : [], plan, stored })
    }
    // Nothing is assigned before the stage ends: what a site sees must not depend on how memory cut the work.
    const decisions: (() => Promise<void>)[] = []
    for (const chunk of chunkByMemory(work, context.maxMemory)) {
      const each = await collectEach(host, chunk, context.calibration, context.observe, { stage: `round ${index}`, cache: context.cache })
      const finished = await inParallel(chunk, options.runner?.concurrency ?? 1, async ({ plan, stored }, i) => {
        const { site } = plan
        throwIfAborted(context.signal, `rounding of ${site.id}`)
        context.onProgress({ phase: 'round', done: done++, total: owners.length, item: site.id })
        const weight = await host.readWeight(site.id)
        const products = mergeStatistics([...each[i].values()])
        const statistics = site.kind === 'embedding' ? withLookups(products, weight, context.linalg) : products
        const result = stored ?? (await roundSite(plan, chunk[i].readers, weight, statistics, context, options))
        const report = siteReport(plan, weight.data, result)
        const readers = [...each[i]].map(([id, own]) => ({
          id,
          outputSqnr: predictedSqnr(weight, result, own, context.linalg),
          shift: options.biasCorrection ? meanShift(plan, weight.data, result.q, own) : undefined,
        }))
        return { id: site.id, result, report, readers }
      })
      for (const { id, result, report, readers } of finished) {
        reports.set(id, report)
        for (const { id: reader, outputSqnr } of readers) if (outputSqnr !== undefined) outputs.set(reader, outputSqnr)
        context.warnings.push(...(result.warnings ?? []).map((w) => `${id}: ${w}`))
        decisions.push(async () => {
          context.decisions.assign(id, result.q)
          for (const { id: reader, shift } of readers) if (shift !== undefined) await host.addBias(reader, shift)
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

/** Where a site's result is kept. What needs no data is computed again sooner than it is read back. */
function keeper(plan: Quantized, options: QuantizeOptions): JobStore | undefined {
  return plan.rounding.needs(plan.scheme).length === 0 ? undefined : options.jobs
}

function needsOf(plan: Quantized, options: QuantizeOptions): readonly StatisticName[] {
  const needs = new Set(plan.rounding.needs(plan.scheme))
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

async function roundSite(plan: Quantized, readers: readonly Site[], weight: HostTensor<'float32'>, statistics: JobStatistics, context: StageContext, options: QuantizeOptions): Promise<RoundingResult> {
  const { site, scheme, rounding } = plan
  const job: RoundingJob = {
    // A table that is the output layer too is rounded for what multiplies it.
    site: { id: site.id, kind: readers[0]?.kind ?? 'embedding', weight: site.weight },
    weight,
    scheme,
    statistics,
    linalg: context.linalg,
    seed: context.seed,
    ...(context.signal === undefined ? {} : { signal: context.signal }),
  }
  const result = await (options.runner?.run(rounding, job) ?? rounding.round(job))
  checkQTensor(result.q, `${rounding.name} at ${site.id}`)
  await keeper(plan, options)?.save(site.id, result)
  return result
}

/** `(W − Ŵ)·mean(x)`, `[N]`: how far the mean output moved; added to the bias it takes the move back. */
function meanShift(plan: Quantized, weight: Float32Array, q: QTensor, statistics: JobStatistics): Float32Array | undefined {
  const mean = statistics.mean
  if (mean === undefined) return undefined
  const quantized = dequantize(q).data
  const { rows, columns, groups } = plan.site.weight
  const shift = new Float32Array(rows)
  for (let n = 0; n < rows; n++) {
    const from = Math.floor(n / (rows / groups)) * columns
    let sum = 0
    for (let k = 0; k < columns; k++) sum += (weight[n * columns + k] - quantized[n * columns + k]) * mean.data[from + k]
    shift[n] = sum
  }
  return shift
}

/** SQNR of the output that these inputs give, dB. */
function predictedSqnr(weight: HostTensor<'float32'>, { q }: RoundingResult, { gram }: JobStatistics, linalg: LinAlg): number | undefined {
  return gram === undefined ? undefined : outputSqnr(weight.data, dequantize(q).data, weight.shape[0], gram, linalg)
}

function siteReport(plan: Quantized, weight: Float32Array, result: RoundingResult): SiteReport {
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
    weightSqnr: weightError(weight, result.q).sqnr,
    bytesBefore: weightBytes(site),
    bytesAfter: qTensorBytes(result.q),
    ...(result.notes === undefined ? {} : { notes: result.notes }),
  }
}
