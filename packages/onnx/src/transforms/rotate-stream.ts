import { type ApplyResult, fromFloat16, type ResidualStream, rotateRows } from '@lowbit/core'
import type { Graph } from '../graph/index.js'
import { type LoadTensor, readRows, type SiteRecord, transpose, writeRows } from '../sites/index.js'
import type { StreamRecord, VectorRef } from './residual-stream.js'
import { changeVector } from './vector.js'

/** A stream as the contract shows it, with the gains of its norms. */
export async function describeStream(graph: Graph, stream: StreamRecord, load: LoadTensor): Promise<ResidualStream> {
  const { id, channels, readers, writers, reason } = stream
  if (reason !== undefined) return { id, channels, readers: readers.map(({ record }) => ({ site: record.site.id })), writers: writers.map((r) => r.site.id), reason }
  const shown = []
  for (const { record, gain } of readers) shown.push({ site: record.site.id, ...(gain === undefined ? {} : { gain: await valuesOf(graph, gain, load) }) })
  return { id, channels, readers: shown, writers: writers.map((r) => r.site.id) }
}

/**
 * Turns a residual stream by a randomised Hadamard transform: gains of norms go into the sites behind them, columns of what
 * reads the stream and rows of what writes to it are turned. Nothing is added to the graph.
 */
export async function rotateStream(graph: Graph, records: readonly SiteRecord[], stream: StreamRecord, signs: Int8Array, order: number, load: LoadTensor): Promise<ApplyResult> {
  const { channels, readers, writers, gains, biases, reason } = stream
  if (reason !== undefined) return { how: 'refused', reason }
  if (signs.length !== channels || channels % order !== 0) return { how: 'refused', reason: `${signs.length} signs in blocks of ${order} for ${channels} channels` }
  const ownerOf = ({ site }: SiteRecord): string => site.tiedTo ?? site.id
  const familyOf = (record: SiteRecord): SiteRecord[] => records.filter((r) => ownerOf(r) === ownerOf(record))
  const turned = new Set<string>()
  for (const { record, gain } of readers) {
    if (turned.has(ownerOf(record))) continue
    turned.add(ownerOf(record))
    const { data } = await readRows(graph, record, load)
    if (gain !== undefined) {
      const factors = await valuesOf(graph, gain, load)
      for (let i = 0; i < data.length; i++) data[i] *= factors[i % channels]
    }
    rotateRows(data, signs, order)
    writeRows(graph, familyOf(record), data)
  }
  for (const record of writers) {
    const isEmbedding = record.op === 'Gather'
    // The columns of a tied embedding turned with the site it is tied to; a site may read the stream and write to it.
    if (isEmbedding && turned.has(ownerOf(record))) continue
    turned.add(ownerOf(record))
    const { rows, columns } = record.matrix
    const { data } = await readRows(graph, record, load)
    if (isEmbedding) rotateRows(data, signs, order)
    const outputs = isEmbedding ? data : transpose(data, rows, columns)
    if (!isEmbedding) rotateRows(outputs, signs, order)
    writeRows(graph, familyOf(record), isEmbedding ? outputs : transpose(outputs, columns, rows))
  }
  for (const { node, input } of biases) await changeVector(graph, node, input, load, (values) => rotateRows(values, signs, order))
  for (const { node, input } of gains) await changeVector(graph, node, input, load, (values) => values.fill(1))
  return { how: 'folded' }
}

async function valuesOf(graph: Graph, { node, input }: VectorRef, load: LoadTensor): Promise<Float32Array> {
  const stored = graph.constant(node.input[input] ?? '')
  if (stored === undefined) return new Float32Array()
  const host = await load(stored)
  return host.dtype === 'float16' ? fromFloat16(host.data as Uint16Array) : Float32Array.from(host.data, Number)
}
