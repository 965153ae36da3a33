import type { HostTensor } from '@lowbit/core'
import type { SiteRecord } from '@lowbit/onnx'
import type { CalibrationGraph } from './calibration-graph.js'
import { type Collector, floatsOf } from './collector.js'
import { nonFinite } from './non-finite.js'

/** The first rows of a site's input, `[rows, groups · K]`. */
export function samplesCollector(graph: CalibrationGraph, record: SiteRecord, wanted = 64): Collector<'samples'> {
  const { groups, columns } = record.matrix
  // [groups, rows, K] → [rows, groups · K], cut to what can still be wanted before it leaves the runtime.
  const rowsFirst = graph.apply('Transpose', [graph.columns(record)], { perm: [1, 0, 2] })
  const flat = graph.apply('Reshape', [rowsFirst, graph.ints(-1, groups * columns)])
  const output = graph.apply('Slice', [flat, graph.ints(0), graph.ints(wanted), graph.ints(0)])
  const width = groups * columns
  const data = new Float32Array(wanted * width)
  let filled = 0
  return {
    outputs: [output],
    add(values, sample) {
      const seen = floatsOf(values, output)
      const rows = Math.min(seen.length / width, wanted - filled)
      if (rows <= 0) return
      const taken = seen.subarray(0, rows * width)
      const bad = taken.find((v) => !Number.isFinite(v))
      if (bad !== undefined) throw nonFinite(`activation '${record.site.input.name}' in sample ${sample}`, bad)
      data.set(taken, filled * width)
      filled += rows
    },
    result: (): HostTensor<'float32'> => ({ dtype: 'float32', shape: [filled, width], data: data.slice(0, filled * width) }),
  }
}
