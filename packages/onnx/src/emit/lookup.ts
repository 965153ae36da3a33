import { type PlannedWeight, zeroPointsOf } from '@lowbit/core'
import { node } from '@lowbit/formats'
import type { Graph } from '../graph/index.js'
import { codesOf } from '../plan/onnx-plan.js'
import { storedArray } from '../plan/stored-codes.js'
import { pointWeightAt, type SiteRecord, siteNode } from '../sites/index.js'
import { store, storeScales, stores } from './store.js'

/** ONNX element type numbers that Cast takes. */
const CAST = { float32: 1, float16: 10 } as const

/** An embedding that looks 8-bit codes up and scales what it found: `Cast(Gather(codes)) · Gather(scales)`. */
export function writeLookup(graph: Graph, weight: PlannedWeight, sites: readonly SiteRecord[]): void {
  const [owner] = sites
  if (owner === undefined) return
  const q = codesOf(weight)
  const base = `${owner.site.weight.name}_q`
  const perEntry = q.scheme.granularity.kind === 'channel'
  const codes = store(graph, weight, 'codes', base, storedArray(q.scheme.dtype === 'uint8' ? 'uint8' : 'int8', q.codes))
  const scales = storeScales(graph, weight, owner, `${base}_scale`, q.params.scales)
  const zeroPoints = stores(weight, 'zeroPoints') ? store(graph, weight, 'zeroPoints', `${base}_zero_point`, Float32Array.from(zeroPointsOf(q))) : undefined
  for (const record of sites) {
    const gather = siteNode(graph, record)
    const indices = gather.input[record.dataInput] ?? ''
    const { id } = record.site
    const last = graph.detachOutput(gather, 0)
    const found = record.anchor
    record.anchor = last
    const add = (op: string, inputs: readonly string[], out: string, attributes: Parameters<typeof node>[3] = {}): string => {
      graph.addNode(node(op, inputs, [out], attributes, '', graph.freshName(`${id}/${op}`)))
      return out
    }
    const lookUp = (table: string): string => (perEntry ? add('Gather', [table, indices], graph.freshName(`${table}_found`), { axis: 0 }) : table)
    let value = add('Cast', [last], graph.freshName(`${found}_float`), { to: CAST[record.floatType] })
    if (zeroPoints !== undefined) value = add('Sub', [value, lookUp(zeroPoints)], graph.freshName(`${found}_centred`))
    add('Mul', [value, lookUp(scales)], found)
  }
  pointWeightAt(graph, sites, codes)
}
