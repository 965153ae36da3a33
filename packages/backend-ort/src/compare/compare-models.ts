import { type Batch, type BatchSource, type Comparison, DEFAULT_MAX_MEMORY, DifferenceMeter, type HostTensor, LowbitError, type OutputComparison, repeatable, resolveOptions, throwIfAborted, top1Agreement } from '@lowbit/core'
import type { OnnxHost } from '../host/onnx-host.js'
import { COMPARE_OPTIONS, type CompareOptions } from './options.js'
import { rankLayers } from './rank-layers.js'
import { findSaturation } from './saturation.js'
import { toNumbers } from './values.js'

/** Sums for one output. */
class OutputMeter {
  readonly #name: string
  readonly #meter = new DifferenceMeter()
  #agree = 0
  #rows = 0

  constructor(name: string) {
    this.#name = name
  }

  add(reference: HostTensor, candidate: HostTensor): void {
    if (reference.shape.join() !== candidate.shape.join()) {
      throw new LowbitError('LOWBIT_SHAPE', { thing: `output '${this.#name}'`, found: `[${candidate.shape.join(', ')}] from the second model`, expected: `[${reference.shape.join(', ')}], as from the first`, fix: 'compare models of the same task' })
    }
    const x = toNumbers(reference)
    const y = toNumbers(candidate)
    this.#meter.add(x, y)
    const width = reference.shape.at(-1) ?? 1
    if (width < 2) return
    const [agree, rows] = top1Agreement(x, y, width)
    this.#agree += agree
    this.#rows += rows
  }

  result(): OutputComparison {
    const { sqnr, cosine, maxError, count } = this.#meter.result()
    return { name: this.#name, sqnr, cosine, maxError, ...(this.#rows === 0 ? {} : { top1: this.#agree / this.#rows }), count }
  }
}

/**
 * Runs two models on the same data and compares what comes out, their sizes, and their latency (median of runs in turn).
 *
 * Outputs are matched by name, else by position. Those that are no numbers (labels, sequences, maps) are left out.
 * @param a - the reference
 * @throws LOWBIT_ARGUMENT naming the option, LOWBIT_DATA for data that does not fit, LOWBIT_SHAPE if outputs have different shapes, LOWBIT_ABORTED
 */
export async function compareModels(a: OnnxHost, b: OnnxHost, source: BatchSource, options: CompareOptions = {}): Promise<Comparison> {
  const { signal, onProgress, latency, saturation, layers } = resolveOptions<CompareOptions, typeof COMPARE_OPTIONS>(COMPARE_OPTIONS, options, 'compareModels')
  const data = await repeatable(source, DEFAULT_MAX_MEMORY, 'data to compare on')
  const pairs = matchOutputs(a, b)
  const meters = new Map(pairs.map(([name]) => [name, new OutputMeter(name)]))
  const times: { readonly a: number[]; readonly b: number[] } = { a: [], b: [] }
  const total = Array.isArray(data) ? data.length : 0
  let batches = 0
  for await (const batch of data) {
    throwIfAborted(signal, 'comparison')
    // The first run of a session allocates; it is not what a user waits for later.
    if (batches === 0 && latency) for (const host of [a, b]) await host.run(batch)
    const [first, second] = batches % 2 === 0 ? ([['a', a], ['b', b]] as const) : ([['b', b], ['a', a]] as const)
    const results: { a?: Batch; b?: Batch } = {}
    for (const [which, host] of [first, second]) {
      const start = performance.now()
      results[which] = await host.run(batch)
      times[which].push(performance.now() - start)
    }
    for (const [name, other] of pairs) {
      const x = results.a?.[name]
      const y = results.b?.[other]
      if (x !== undefined && y !== undefined) meters.get(name)?.add(x, y)
    }
    batches++
    onProgress?.({ phase: 'compare', done: batches, total: Math.max(total, batches), item: `batch ${batches}` })
  }
  if (batches === 0) throw new LowbitError('LOWBIT_DATA', { thing: 'data to compare on', found: 'no batches', expected: 'at least one' })
  return {
    outputs: [...meters.values()].map((m) => m.result()).filter(({ count }) => count > 0),
    batches,
    sizeBefore: a.size(),
    sizeAfter: b.size(),
    ...(latency ? { latencyBefore: median(times.a), latencyAfter: median(times.b) } : {}),
    ...(!saturation ? {} : { saturation: await findSaturation(b, data, signal === undefined ? {} : { signal }) }),
    ...(layers ? { layers: await rankLayers(a, b, data, options) } : {}),
  }
}

function matchOutputs(a: OnnxHost, b: OnnxHost): readonly (readonly [string, string])[] {
  const names = a.outputs().map((o) => o.name)
  const others = b.outputs().map((o) => o.name)
  if (names.every((name) => others.includes(name))) return names.map((name) => [name, name])
  if (names.length === others.length) return names.map((name, i) => [name, others[i] ?? name])
  throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'comparison', found: `outputs ${others.join(', ')} in the second model`, expected: names.join(', '), fix: 'compare models of the same task' })
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((x, y) => x - y)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
