import { type ApplyResult, rotateRows } from '@lowbit/core'
import { node } from '@lowbit/formats'
import { addFloats, addInts, type Graph } from '../graph/index.js'
import { type LoadTensor, operandName, readRows, type SiteRecord, siteNode, transpose, writeRows } from '../sites/index.js'
import { channelsOf, type GroupRecord, planGroup, tiedReason, unrotatable } from './fold-groups.js'
import { changeVector } from './vector.js'

/**
 * Turns the channels of a group's input by a randomised Hadamard transform, and the columns of its sites alike. Folds into a
 * linear operator that makes the input; else a Mul and a MatMul with the transform's matrix are put in front of the sites.
 */
export async function applyRotation(graph: Graph, records: readonly SiteRecord[], group: GroupRecord, signs: Int8Array, order: number, load: LoadTensor): Promise<ApplyResult> {
  const [first] = group.members
  if (first === undefined) return { how: 'refused', reason: 'no sites' }
  const unfit = unrotatable(group)
  if (unfit !== undefined) return { how: 'refused', reason: unfit }
  if (signs.length !== channelsOf(first) || signs.length % order !== 0) return { how: 'refused', reason: `${signs.length} signs in blocks of ${order} for ${channelsOf(first)} channels` }
  const tied = tiedReason(records, group)
  if (tied !== undefined) return { how: 'refused', reason: tied }

  const plan = planGroup(graph, records, group)
  const isFoldable = typeof plan !== 'string' && plan.producer === 'linear' && plan.isAffine
  if (isFoldable) {
    for (const target of plan.targets) {
      if (target.kind === 'vector') await changeVector(graph, target.node, target.input, load, (values) => rotateRows(values, signs, order))
      else {
        const { rows, columns } = target.record.matrix
        const turned = transpose((await readRows(graph, target.record, load)).data, rows, columns)
        rotateRows(turned, signs, order)
        writeRows(graph, [target.record], transpose(turned, columns, rows))
      }
    }
  } else insertRotation(graph, group, signs, order)
  const done = new Set<string>()
  for (const record of group.members) {
    const owner = record.site.tiedTo ?? record.site.id
    if (done.has(owner)) continue
    done.add(owner)
    const { data } = await readRows(graph, record, load)
    rotateRows(data, signs, order)
    writeRows(graph, records.filter((r) => (r.site.tiedTo ?? r.site.id) === owner), data)
  }
  if (isFoldable) return { how: 'folded' }
  return { how: 'inserted', reason: typeof plan === 'string' ? plan : `a ${plan.producer} takes no rotation` }
}

function insertRotation(graph: Graph, group: GroupRecord, signs: Int8Array, order: number): void {
  const [first] = group.members
  if (first === undefined) return
  const input = operandName(graph, first, 'data')
  const type = first.floatType
  const fresh = (role: string): string => graph.freshName(`${input}_${role}`)
  const name = (op: string): string => graph.freshName(`${group.id}/${op}`)
  const turned = fresh('signed')
  const rotated = fresh('rotated')
  const matrix = addFloats(graph, fresh('hadamard'), rotationMatrix(order), [order, order], type)
  graph.addNode(node('Mul', [input, addFloats(graph, fresh('signs'), Float32Array.from(signs), [signs.length], type)], [turned], {}, '', name('Mul')))
  if (order === signs.length) graph.addNode(node('MatMul', [turned, matrix], [rotated], {}, '', name('MatMul')))
  else {
    const [shape, blocks, product] = [fresh('shape'), fresh('blocks'), fresh('product')]
    graph.addNode(
      node('Shape', [input], [shape], {}, '', name('Shape')),
      node('Reshape', [turned, addInts(graph, fresh('block_shape'), [-1, order])], [blocks], {}, '', name('Reshape')),
      node('MatMul', [blocks, matrix], [product], {}, '', name('MatMul')),
      node('Reshape', [product, shape], [rotated], {}, '', name('Reshape')),
    )
  }
  for (const record of group.members) graph.setInput(siteNode(graph, record), record.dataInput, rotated)
}

/** The matrix that turns rows: row i is the turned i-th unit vector. */
function rotationMatrix(order: number): Float32Array<ArrayBuffer> {
  const matrix = new Float32Array(order * order)
  for (let i = 0; i < order; i++) matrix[i * order + i] = 1
  rotateRows(matrix, new Int8Array(order).fill(1), order)
  return matrix
}

