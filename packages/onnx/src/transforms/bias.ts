import { LowbitError } from '@lowbit/core'
import { floatAttribute, node, tensorShape } from '@lowbit/formats'
import { addFloats, type Graph, isOp } from '../graph/index.js'
import { type LoadTensor, type SiteRecord, siteNode } from '../sites/index.js'
import { changeVector } from './vector.js'

/** Adds `delta [N]` to what a site makes: to its bias where it has one of its own, else as a new bias or an Add behind it. */
export async function addBias(graph: Graph, record: SiteRecord, delta: Float32Array, load: LoadTensor): Promise<void> {
  const { rows } = record.matrix
  if (delta.length !== rows) throw new LowbitError('LOWBIT_SHAPE', { thing: `bias of site '${record.site.id}'`, found: `${delta.length} values`, expected: `${rows}` })
  if (record.op === 'Gather' || record.op === 'Stored') throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `site '${record.site.id}'`, found: `a ${record.site.kind} weight`, expected: 'a site with a bias' })
  const operator = siteNode(graph, record)
  const add = (values: Float32Array): void => delta.forEach((d, n) => (values[n] += d))
  if (record.op === 'MatMul') {
    const [reader] = graph.consumers(record.anchor)
    const side = reader === undefined ? -1 : reader.input.findIndex((name) => isVectorOf(graph, name, rows))
    const isOnlyReader = graph.consumers(record.anchor).length === 1 && !graph.isOutput(record.anchor)
    if (reader !== undefined && isOnlyReader && isOp(reader, 'Add') && side >= 0) return changeVector(graph, reader, side, load, add)
    const output = record.anchor
    const raw = graph.detachOutput(operator, 0)
    graph.addNode(node('Add', [raw, addFloats(graph, `${output}_bias`, new Float32Array(delta), [rows], record.floatType)], [output], {}, '', graph.freshName(`${record.site.id}/Add`)))
    record.anchor = raw
    return
  }
  const bias = operator.input[2] ?? ''
  const isGemm = record.op === 'Gemm'
  const beta = isGemm ? floatAttribute(operator, 'beta', 1) : 1
  if (bias !== '' && beta === 1 && isVectorOf(graph, bias, rows)) return changeVector(graph, operator, 2, load, add)
  if (bias === '' && beta === 1) {
    graph.setInput(operator, 2, addFloats(graph, `${record.anchor}_bias`, new Float32Array(delta), [rows], record.floatType))
    return
  }
  const output = record.anchor
  const raw = graph.detachOutput(operator, 0)
  const shape = isGemm ? [rows] : [rows, ...record.matrix.shape.slice(2).map(() => 1)]
  graph.addNode(node('Add', [raw, addFloats(graph, `${output}_bias`, new Float32Array(delta), shape, record.floatType)], [output], {}, '', graph.freshName(`${record.site.id}/Add`)))
  record.anchor = raw
}

function isVectorOf(graph: Graph, name: string, rows: number): boolean {
  const stored = graph.constant(name)
  if (stored === undefined) return false
  const shape = tensorShape(stored)
  return shape.at(-1) === rows && shape.reduce((a, b) => a * b, 1) === rows
}
