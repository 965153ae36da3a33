import { type HostTensor, ShardedSum, type Site } from '@lowbit/core'
import type { SiteRecord } from '@lowbit/onnx'
import type { CalibrationGraph } from './calibration-graph.js'
import { type Collector, countOf, floatsOf } from './collector.js'
import { nonFinite } from './non-finite.js'
import { otherAxes } from './range.js'

/** Axis of the channels of a site's input: axis 1 of a convolution's, the last of all others. */
export function channelAxis(site: Pick<Site, 'kind'>): number {
  return site.kind === 'conv' ? 1 : -1
}

/** Magnitudes reduced to one value a channel. */
function perChannel(graph: CalibrationGraph, op: 'ReduceMax' | 'ReduceSum', tensor: string, axis: number): string {
  const magnitudes = graph.apply('Abs', [graph.floats(tensor)])
  const rank = graph.rank(tensor)
  if (rank > 0) return graph.reduce(op, magnitudes, otherAxes(rank, axis))
  // Rank 0 stands for a rank that the runtime did not infer: what is in the way is folded together when the model runs.
  if (axis === 1) return graph.reduce(op, graph.apply('Reshape', [magnitudes, graph.ints(0, 0, -1)]), [0, 2])
  const last = graph.apply('Gather', [graph.apply('Shape', [tensor]), graph.ints(-1)])
  return graph.reduce(op, graph.apply('Reshape', [magnitudes, graph.apply('Concat', [graph.ints(-1), last], { axis: 0 })]), [0])
}

/** max|x| per channel. */
export function absmaxCollector(graph: CalibrationGraph, tensor: string, axis: number): Collector<'absmax-per-channel'> {
  const output = perChannel(graph, 'ReduceMax', tensor, axis)
  // A maximum may pass over NaN; a sum cannot.
  const sum = perChannel(graph, 'ReduceSum', tensor, axis)
  let most = new Float32Array()
  return {
    outputs: [output, sum],
    add(values, sample) {
      const seen = floatsOf(values, output)
      const sums = floatsOf(values, sum)
      if (most.length === 0) most = new Float32Array(seen.length)
      for (let c = 0; c < seen.length; c++) {
        const value = seen[c] ?? 0
        const bad = [value, sums[c] ?? 0].find(Number.isNaN) ?? value
        if (!Number.isFinite(bad)) throw nonFinite(`channel ${c} of activation '${tensor}' in sample ${sample}`, bad)
        most[c] = Math.max(most[c] ?? 0, value)
      }
    },
    result: (): HostTensor<'float32'> => ({ dtype: 'float32', shape: [most.length], data: most }),
  }
}

/** mean|x| per channel, over all samples. */
export function meanAbsCollector(graph: CalibrationGraph, tensor: string, axis: number): Collector<'mean-abs-per-channel'> {
  const output = perChannel(graph, 'ReduceSum', tensor, axis)
  const size = graph.apply('Size', [tensor])
  return meanOf(output, tensor, (values, channels) => countOf(values, size) / channels, [size])
}

/** mean x per column of a site's weight, `[groups · K]`. */
export function meanCollector(graph: CalibrationGraph, record: SiteRecord): Collector<'mean'> {
  const columns = graph.columns(record)
  const output = graph.reduce('ReduceSum', columns, [1])
  const size = graph.apply('Size', [columns])
  return meanOf(output, record.site.input.name, (values, channels) => countOf(values, size) / channels, [size])
}

function meanOf(output: string, tensor: string, rowsOf: (values: Readonly<Record<string, HostTensor>>, channels: number) => number, more: readonly string[]): Collector<'mean'> & Collector<'mean-abs-per-channel'> {
  let sum: ShardedSum | undefined
  let rows = 0
  return {
    outputs: [output, ...more],
    add(values, sample) {
      const seen = floatsOf(values, output)
      sum ??= new ShardedSum(seen.length)
      const sums = sum.next()
      for (let c = 0; c < seen.length; c++) {
        const value = seen[c] ?? 0
        if (!Number.isFinite(value)) throw nonFinite(`channel ${c} of activation '${tensor}' in sample ${sample}`, value)
        sums[c] = (sums[c] ?? 0) + value
      }
      rows += rowsOf(values, Math.max(seen.length, 1))
    },
    result: (): HostTensor<'float32'> => {
      const sums = sum?.result() ?? new Float64Array()
      return { dtype: 'float32', shape: [sums.length], data: Float32Array.from(sums, (s) => (rows === 0 ? 0 : s / rows)) }
    },
  }
}
