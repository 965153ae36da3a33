import { breathDue, breathe, type GramStatistic, ShardedSum } from '@lowbit/core'
import type { SiteRecord } from '@lowbit/onnx'
import type { CalibrationGraph } from './calibration-graph.js'
import { type Collector, countOf, floatsOf } from './collector.js'
import { nonFinite } from './non-finite.js'

/**
 * XᵀX in the columns of a site's weight, computed by the runtime: a Transpose and a MatMul, after an unfolding for convolutions.
 * With `other`, X̂ᵀX: X̂ are the columns here, X those of the same site in the other model.
 */
export function gramCollector(graph: CalibrationGraph, record: SiteRecord, other?: string): Collector<'gram'> {
  const columns = graph.columns(record)
  const transposed = graph.apply('Transpose', [columns], { perm: [0, 2, 1] })
  const output = graph.apply('MatMul', [transposed, other ?? columns])
  const size = graph.apply('Size', [columns])
  const { groups, columns: n } = record.matrix
  const sum = new ShardedSum(groups * n * n)
  let rows = 0
  return {
    outputs: [output, size],
    async add(values, sample) {
      const seen = floatsOf(values, output)
      const data = sum.next()
      for (let from = 0; from < data.length; from += PIECE) {
        const end = Math.min(data.length, from + PIECE)
        for (let i = from; i < end; i++) {
          const value = seen[i] ?? 0
          if (value - value !== 0) throw nonFinite(`activation '${record.site.input.name}' in sample ${sample}`, value)
          data[i] += value
        }
        if (breathDue()) await breathe()
      }
      rows += countOf(values, size) / (groups * n)
    },
    result: (): GramStatistic => ({ data: sum.result(), groups, size: n, rows }),
  }
}

/** Elements that are added between two looks at the event loop. */
const PIECE = 2 ** 20
