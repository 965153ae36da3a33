import { type QTensor, type Scheme, zeroPointsOf } from '@lowbit/core'
import { node } from '@lowbit/formats'
import { type Graph, MICROSOFT } from '../graph/index.js'
import { type SiteRecord, siteNode } from '../sites/index.js'
import { addConstant, addFloats, addInts } from './constants.js'
import { expectStoredType, hostType, plainGranularity, storedArray, wholeZeroPoints } from './stored-codes.js'

const isPowerOfTwo = (n: number): boolean => Number.isInteger(Math.log2(n))

/** True if GatherBlockQuantized takes the codes: 4 bits in blocks (a whole entry may be one), 8 bits in blocks. */
export function isBlockGatherable(q: QTensor): boolean {
  const { scheme } = plainGranularity(q)
  if (scheme.zeroPoint === 'float' || scheme.granularity.kind === 'tensor') return false
  const bits = bitsIn(scheme)
  if (bits === undefined) return false
  if (scheme.granularity.kind === 'group') return scheme.granularity.size >= 16 && isPowerOfTwo(scheme.granularity.size)
  return bits === 4
}

function bitsIn({ dtype }: Scheme): 4 | 8 | undefined {
  if (dtype === 'int8' || dtype === 'uint8') return 8
  return dtype === 'int16' || dtype === 'uint16' ? undefined : 4
}

/** Embeddings that look up blocks of codes and scale what they found (com.microsoft GatherBlockQuantized). */
export function gatherBlockQuantized(graph: Graph, sites: readonly SiteRecord[], weight: QTensor): void {
  const [owner] = sites
  if (owner === undefined) return
  const q = plainGranularity(weight)
  const { rows, columns } = owner.matrix
  const { granularity } = q.scheme
  const size = granularity.kind === 'group' ? granularity.size : Math.max(16, 2 ** Math.ceil(Math.log2(columns)))
  const blocks = Math.ceil(columns / size)
  const base = `${owner.site.weight.name}_q`
  const type = expectStoredType(q.scheme, `weight of site '${owner.site.id}'`)
  const isByte = type === 'int8' || type === 'uint8'
  // 8-bit tables are stored unsigned: the operator knows no int8.
  const offset = type === 'int8' ? 128 : 0
  const stored = isByte ? 'uint8' : type
  const codes = addConstant(graph, base, { dtype: hostType(stored), shape: [rows, columns], data: offset === 0 ? storedArray(stored, q.codes) : Uint8Array.from(q.codes, (c) => c + offset) }, stored)
  const scales = addFloats(graph, `${base}_scale`, new Float32Array(q.params.scales), [rows, blocks], owner.floatType)
  const inputs = [codes, '', scales]
  if (isByte) {
    const zeros = zeroPointsOf(q)
    if (zeros.some((z) => z + offset !== 128)) inputs.push(addConstant(graph, `${base}_zero_point`, { dtype: 'uint8', shape: [rows, blocks], data: Uint8Array.from(zeros, (z) => z + offset) }))
  } else {
    const zeros = wholeZeroPoints(q)
    if (zeros !== undefined) inputs.push(addConstant(graph, `${base}_zero_point`, { dtype: hostType(stored), shape: [rows, blocks], data: storedArray(stored, zeros) }, stored))
  }
  graph.setOpset(MICROSOFT, Math.max(1, graph.opset(MICROSOFT)))
  for (const record of sites) {
    const old = siteNode(graph, record)
    const table = old.input[record.weightInput] ?? ''
    inputs[1] = old.input[record.dataInput] ?? ''
    const attributes = { gather_axis: 0, quantize_axis: 1, block_size: size, ...(isByte ? { bits: 8 } : {}) }
    graph.replaceNode(old, node('GatherBlockQuantized', inputs, [record.anchor], attributes, MICROSOFT, old.name))
    graph.removeIfUnread(table)
  }
}


/** Codes and scales as MatMulNBits has them. */
export interface StoredBlocks {
  readonly bits: number
  readonly size: number
  /** Names of the codes, the scales, and the zero points if there are any. */
  readonly inputs: readonly string[]
}

/** True if the bytes of MatMulNBits are those of GatherBlockQuantized: no padding between rows, zero points packed. */
export function isShareable(table: SiteRecord, { size, inputs, bits }: StoredBlocks): boolean {
  const { columns } = table.matrix
  return columns % size === 0 && bits !== 2 && (inputs.length < 3 || ((columns / size) * bits) % 8 === 0)
}

/** Embeddings over the bytes that the output layer holds already, in another shape. */
export function gatherStoredBlocks(graph: Graph, sites: readonly SiteRecord[], { bits, size, inputs: stored }: StoredBlocks): void {
  const [owner] = sites
  if (owner === undefined) return
  const { rows, columns } = owner.matrix
  const widths = [(columns * bits) / 8, columns / size, ((columns / size) * bits) / 8]
  const inputs = stored.map((name, i) => {
    const out = graph.freshName(`${name}_table`)
    graph.addNode(node('Reshape', [name, addInts(graph, `${name}_table_shape`, [rows, widths[i] ?? 0])], [out], {}, '', graph.freshName(`${owner.site.id}/Reshape`)))
    return out
  })
  for (const record of sites) {
    const old = siteNode(graph, record)
    const table = old.input[record.weightInput] ?? ''
    const [codes = '', ...params] = inputs
    const attributes = { gather_axis: 0, quantize_axis: 1, block_size: size, bits }
    graph.replaceNode(old, node('GatherBlockQuantized', [codes, old.input[record.dataInput] ?? '', ...params], [record.anchor], attributes, MICROSOFT, old.name))
    graph.removeIfUnread(table)
  }
}
