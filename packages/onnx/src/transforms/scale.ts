import type { ApplyResult } from '@lowbit/core'
import { node } from '@lowbit/formats'
import { addFloats, type Graph } from '../graph/index.js'
import { type LoadTensor, operandName, readRows, type SiteRecord, siteNode, writeRows } from '../sites/index.js'
import { type GroupRecord, planGroup, tiedReason } from './fold-groups.js'
import { changeVector } from './vector.js'

/**
 * Divides channel j of a group's input by `scales[j]` and multiplies the columns of its sites. The division goes into what
 * produces the input; where nothing can take it, a Mul is put in front of the sites.
 */
export async function applyScale(graph: Graph, records: readonly SiteRecord[], group: GroupRecord, scales: Float32Array, load: LoadTensor): Promise<ApplyResult> {
  if (group.members.length === 0) return { how: 'refused', reason: 'no sites' }
  const tied = tiedReason(records, group)
  if (tied !== undefined) return { how: 'refused', reason: tied }

  const plan = planGroup(graph, records, group)
  if (typeof plan === 'string') insertMul(graph, group, scales)
  else {
    for (const target of plan.targets) {
      if (target.kind === 'vector') await changeVector(graph, target.node, target.input, load, (values) => scales.forEach((s, j) => (values[j] /= s)))
      else await scaleRows(graph, target.record, scales, load)
    }
  }
  const done = new Set<string>()
  for (const record of group.members) {
    const owner = record.site.tiedTo ?? record.site.id
    if (done.has(owner)) continue
    done.add(owner)
    const { data } = await readRows(graph, record, load)
    scaleColumns(data, record, scales)
    writeRows(graph, records.filter((r) => (r.site.tiedTo ?? r.site.id) === owner), data)
  }
  return typeof plan === 'string' ? { how: 'inserted', reason: plan } : { how: 'folded' }
}

/** Column of channel j times `scales[j]`; a row of a grouped convolution has the channels of its group only. */
function scaleColumns(data: Float32Array, { matrix }: SiteRecord, scales: Float32Array): void {
  const { rows, columns, groups, columnsPerChannel } = matrix
  const perGroup = columns / columnsPerChannel
  for (let n = 0; n < rows; n++) {
    const first = Math.floor(n / (rows / groups)) * perGroup
    for (let k = 0; k < columns; k++) data[n * columns + k] *= scales[first + Math.floor(k / columnsPerChannel)]
  }
}

async function scaleRows(graph: Graph, record: SiteRecord, scales: Float32Array, load: LoadTensor): Promise<void> {
  const { data } = await readRows(graph, record, load)
  const { columns } = record.matrix
  for (let i = 0; i < data.length; i++) data[i] /= scales[Math.floor(i / columns)]
  writeRows(graph, [record], data)
}

function insertMul(graph: Graph, group: GroupRecord, scales: Float32Array): void {
  const [first] = group.members
  if (first === undefined) return
  const input = operandName(graph, first, 'data')
  const spatial = first.site.kind === 'conv' ? first.matrix.shape.slice(2).map(() => 1) : []
  const factor = addFloats(graph, graph.freshName(`${input}_smooth_factor`), scales.map((s) => 1 / s), [scales.length, ...spatial], first.floatType)
  const scaled = graph.freshName(`${input}_smooth`)
  graph.addNode(node('Mul', [input, factor], [scaled], {}, '', graph.freshName(`${group.id}/Mul`)))
  for (const record of group.members) graph.setInput(siteNode(graph, record), record.dataInput, scaled)
}
