import { type PlannedWeight, zeroPointsOf } from '@lowbit/core'
import { node } from '@lowbit/formats'
import { type Graph, MICROSOFT } from '../graph/index.js'
import { lookupBlock } from '../plan/lookups.js'
import { codesOf, gridOf } from '../plan/onnx-plan.js'
import { expectStoredType, storedArray } from '../plan/stored-codes.js'
import { type SiteRecord, siteNode } from '../sites/index.js'
import { store, storeScales, stores } from './store.js'

/** Embeddings that look up blocks of codes and scale what they found (com.microsoft GatherBlockQuantized). */
export function writeBlocks(graph: Graph, weight: PlannedWeight, sites: readonly SiteRecord[]): void {
  const [owner] = sites
  if (owner === undefined) return
  const q = codesOf(weight)
  const { shift } = gridOf(weight)
  const base = `${owner.site.weight.name}_q`
  const isByte = /8$/.test(expectStoredType(q.scheme, `weight of site '${owner.site.id}'`))
  const type = isByte ? 'uint8' : expectStoredType(q.scheme, `weight of site '${owner.site.id}'`)
  const moved = (values: ArrayLike<number>): ReturnType<typeof storedArray> => storedArray(type, shift === 0 ? values : Array.from(values, (v) => v + shift))
  const inputs = [store(graph, weight, 'codes', base, moved(q.codes)), '', storeScales(graph, weight, owner, `${base}_scale`, q.params.scales)]
  if (stores(weight, 'zeroPoints')) inputs.push(store(graph, weight, 'zeroPoints', `${base}_zero_point`, moved(zeroPointsOf(q))))
  graph.setOpset(MICROSOFT, Math.max(1, graph.opset(MICROSOFT)))
  for (const record of sites) {
    const old = siteNode(graph, record)
    const table = old.input[record.weightInput] ?? ''
    inputs[1] = old.input[record.dataInput] ?? ''
    const attributes = { gather_axis: 0, quantize_axis: 1, block_size: lookupBlock(owner, q), ...(isByte ? { bits: 8 } : {}) }
    graph.replaceNode(old, node('GatherBlockQuantized', inputs, [record.anchor], attributes, MICROSOFT, old.name))
    graph.removeIfUnread(table)
  }
}
