import { type Batch, type BatchSource, breathe, DEFAULT_MAX_MEMORY, LowbitError, type ObserveOptions, passesByMemory, requireMemory, type StatisticCost, statisticCost, type StatisticRequest, type Statistics, type StatisticName, type StatisticValues, type TensorRef, throwIfAborted } from '@lowbit/core'
import { type Graph, operandName, type SiteRecord } from '@lowbit/onnx'
import type { OrtModule, SessionOptions } from '../ort.js'
import { PATIENT, type Session } from '../session.js'
import { CalibrationGraph } from './calibration-graph.js'
import { absmaxCollector, channelAxis, meanAbsCollector, meanCollector } from './channel.js'
import type { Collector } from './collector.js'
import { gramCollector } from './gram.js'
import { canSample, histogramCollector, sampledHistogramCollector } from './histogram-collector.js'
import { mergeGraph } from './merge.js'
import { rangeCollector } from './range.js'
import { samplesCollector } from './samples.js'
import { type OpenGraph, openWhole, tensorInfo } from './tensor-info.js'

/** What statistics are taken of. */
export interface ObserveContext {
  readonly ort: OrtModule
  /** The model as it now stands. Not changed. */
  readonly graph: Graph
  /** The model before anything was decided, with the transforms of the present one: needed for `cross-gram`. Not changed. */
  readonly before?: { readonly graph: Graph; readonly sites: readonly SiteRecord[] }
  readonly sites: readonly SiteRecord[]
  readonly session?: SessionOptions
  /** Loads a graph made from this one. Default: as one file, which must then hold all weights. */
  readonly open?: OpenGraph
}

/** What one run carries out is there more than once: in the runtime, here, and as garbage that waits to be collected. */
const COPIES = 3

interface Job {
  readonly request: StatisticRequest
  readonly collector: Collector
}

/**
 * Runs the data through the model and gathers statistics: sums, extremes and Gram matrices inside the runtime, histograms from
 * activations that come out a few tensors at a time. Requests that do not fit `maxMemory` together take several passes.
 * @throws LOWBIT_CALIBRATION for no data, LOWBIT_DATA for data that does not fit the model, LOWBIT_NONFINITE for NaN or infinite
 * activations (naming tensor and sample), LOWBIT_NOT_FOUND for unknown targets, LOWBIT_ABORTED
 */
export async function observeGraph(context: ObserveContext, requests: readonly StatisticRequest[], data: BatchSource, options: ObserveOptions = {}): Promise<Statistics> {
  const found = new Map<StatisticRequest, unknown>()
  if (requests.length > 0) {
    const info = requests.some(needsShapes) ? await tensorInfo(context.ort, context.graph, context.open) : new Map<string, TensorRef>()
    const sizes = await carriedSizes(context, info, requests, data)
    for (const [index, chunk] of passes(context, requests, sizes, options.maxMemory, Array.isArray(data) ? data.length : undefined).entries()) {
      throwIfAborted(options.signal, 'calibration')
      for (const { request, collector } of await pass(context, info, chunk, data, options, index)) found.set(request, collector.result())
    }
  }
  return {
    get<S extends StatisticName>(request: StatisticRequest<S>) {
      // The map is keyed by the request itself, whose type says what its value is.
      return found.get(request) as StatisticValues[S] | undefined
    },
  }
}

async function pass(context: ObserveContext, info: ReadonlyMap<string, TensorRef>, requests: readonly StatisticRequest[], data: BatchSource, options: ObserveOptions, index: number): Promise<readonly Job[]> {
  const { graph, jobs } = build(context, info, requests)
  const wanted = [...new Set(jobs.flatMap((job) => job.collector.outputs))]
  const outputs = outputsAmong(wanted, context.graph)
  // Where all that is asked for are inputs of the model, nothing is left to run.
  const session = outputs.length === 0 ? undefined : await openFor(context, graph, wanted)
  const total = Array.isArray(data) ? data.length : 0
  try {
    let sample = 0
    for await (const batch of data) {
      throwIfAborted(options.signal, 'calibration')
      const all = { ...batch, ...(await session?.run(graph.feed(batch, sample), outputs)) }
      for (const { collector } of jobs) await collector.add(all, sample)
      await breathe(options.signal, 'calibration')
      sample++
      options.onProgress?.({ phase: 'calibrate', done: sample, total: Math.max(total, sample), item: index === 0 ? `sample ${sample}` : `sample ${sample}, pass ${index + 1}` })
    }
    if (sample === 0) throw noData()
  } finally {
    await session?.release()
  }
  return jobs
}

/** The graph of one pass: only what these statistics need is left of the model. */
function build(context: ObserveContext, info: ReadonlyMap<string, TensorRef>, requests: readonly StatisticRequest[]): { readonly graph: CalibrationGraph; readonly jobs: readonly Job[] } {
  const graph = new CalibrationGraph(context.graph.clone(), info)
  const crossed = requests.some((r) => r.statistic === 'cross-gram')
  const rename = crossed && context.before !== undefined ? mergeGraph(graph.graph, context.before.graph) : undefined
  const jobs = requests.map((request) => ({ request, collector: collectorOf(context, graph, request, rename) }))
  return { graph, jobs }
}

function collectorOf(context: ObserveContext, graph: CalibrationGraph, request: StatisticRequest, rename: ((name: string) => string) | undefined): Collector {
  const { target, options = {} } = request
  const record = 'site' in target ? siteOf(context, target.site) : undefined
  const site = record?.site
  const tensor = 'tensor' in target ? target.tensor : record === undefined ? '' : operandName(context.graph, record, 'data')
  if (context.graph.producer(tensor) === undefined && !context.graph.isInput(tensor)) {
    throw new LowbitError('LOWBIT_NOT_FOUND', { thing: `activation '${tensor}'`, found: 'no tensor of this name in the model' })
  }
  const needSite = (): SiteRecord => {
    if (record === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: `statistic '${request.statistic}'`, found: `a tensor, '${tensor}'`, expected: 'a site' })
    return record
  }
  const axis = site === undefined ? (options.axis ?? -1) : channelAxis(site)
  switch (request.statistic) {
    case 'range': return rangeCollector(graph, tensor, options.axis)
    case 'absmax-per-channel': return absmaxCollector(graph, tensor, axis)
    case 'mean-abs-per-channel': return meanAbsCollector(graph, tensor, axis)
    case 'mean': return meanCollector(graph, needSite())
    case 'histogram': return isSampled(context, request) ? sampledHistogramCollector(graph, tensor, options.sample ?? 0, options.bins) : histogramCollector(graph, tensor, options.bins)
    case 'gram': return gramCollector(graph, needSite())
    case 'samples': return samplesCollector(graph, needSite(), options.rows)
    case 'cross-gram': {
      const own = needSite()
      const other = context.before?.sites.find((s) => s.site.id === own.site.id)
      if (context.before === undefined || rename === undefined || other === undefined) {
        throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `cross-gram of site '${own.site.id}'`, found: 'no model from before anything was decided', fix: 'open the model with its original kept' })
      }
      // A rotation may stand between the tensor that the site read as opened and what it reads now.
      return gramCollector(graph, own, graph.columns(own, rename(operandName(context.before.graph, other, 'data'))))
    }
  }
}

/** True for what is reduced along some of the axes. */
function needsShapes({ statistic, options }: StatisticRequest): boolean {
  return statistic === 'absmax-per-channel' || statistic === 'mean-abs-per-channel' || (statistic === 'range' && options?.axis !== undefined)
}

function isSampled({ graph }: ObserveContext, { statistic, options }: StatisticRequest): boolean {
  return statistic === 'histogram' && options?.sample !== undefined && canSample(graph.opset())
}

function siteOf(context: ObserveContext, id: string): SiteRecord {
  const record = context.sites.find((s) => s.site.id === id)
  if (record === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: `site '${id}'`, found: 'no site of this name', fix: '`sites()` lists them' })
  return record
}

/**
 * Requests in passes that fit the memory.
 * @param carried - bytes of the tensors that leave the runtime whole
 * @throws LOWBIT_LIMIT, before anything is allocated, for one that does not fit alone
 */
function passes(context: ObserveContext, requests: readonly StatisticRequest[], carried: ReadonlyMap<string, number>, asked: number | undefined, batches: number | undefined): StatisticRequest[][] {
  const costOf = (request: StatisticRequest): StatisticCost => {
    const { statistic, target, options } = request
    const record = 'site' in target ? siteOf(context, target.site) : undefined
    const values = isSampled(context, request) ? (options?.sample ?? 0) : 'tensor' in target ? (carried.get(target.tensor) ?? 0) / 4 : 0
    return statisticCost(statistic, { columns: record?.matrix.columns ?? 1, groups: record?.matrix.groups ?? 1, values, ...(batches === undefined ? {} : { batches }) }, options)
  }
  for (const request of requests) {
    const { statistic, target } = request
    // What a tensor is cannot be helped: it leaves the runtime as it is.
    if (asked !== undefined && 'site' in target) requireMemory(statistic, costOf(request), asked, `site '${target.site}'`)
  }
  const within = (request: StatisticRequest): StatisticCost => {
    const { kept, passing } = costOf(request)
    return { kept, passing: passing * COPIES }
  }
  return passesByMemory(requests, within, asked ?? DEFAULT_MAX_MEMORY)
}

/** Bytes of each tensor that must leave the runtime, measured on one sample: the model counts them itself. */
async function carriedSizes(context: ObserveContext, info: ReadonlyMap<string, TensorRef>, requests: readonly StatisticRequest[], data: BatchSource): Promise<ReadonlyMap<string, number>> {
  const names = new Set(requests.flatMap((r) => (r.statistic === 'histogram' && 'tensor' in r.target && !isSampled(context, r) ? [r.target.tensor] : [])))
  const graph = new CalibrationGraph(context.graph.clone(), info)
  const counts = [...names].filter((name) => context.graph.producer(name) !== undefined).map((name) => [name, graph.apply('Size', [name])] as const)
  if (counts.length === 0) return new Map()
  const session = await openFor(context, graph, counts.map(([, output]) => output))
  try {
    const values = await session.run(await firstBatch(data), counts.map(([, output]) => output))
    return new Map(counts.map(([name, output]) => [name, 4 * Number(values[output]?.data[0] ?? 0)]))
  } finally {
    await session.release()
  }
}

async function openFor(context: ObserveContext, calibration: CalibrationGraph, outputs: readonly string[]): Promise<Session> {
  const { graph } = calibration
  graph.proto.output = []
  for (const name of outputsAmong(outputs, context.graph)) graph.addOutput(name)
  graph.removeDead()
  return (context.open ?? openWhole(context.ort))(graph, { ...PATIENT, ...context.session })
}

/** Graph inputs are in the batch already: they need not come out again. */
function outputsAmong(names: readonly string[], graph: Graph): string[] {
  return names.filter((name) => !graph.isInput(name))
}

async function firstBatch(data: BatchSource): Promise<Batch> {
  for await (const batch of data) return batch
  throw noData()
}

function noData(): LowbitError {
  return new LowbitError('LOWBIT_CALIBRATION', { thing: 'calibration data', found: 'no batches', expected: 'at least one', fix: 'pass typical inputs; a few dozen are enough' })
}
