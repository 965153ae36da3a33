import { bitsOf, LowbitError, type PlannedWeight } from '@lowbit/core'
import { ortNBits } from '@lowbit/formats/layouts'
import { node, type NodeProto } from '@lowbit/formats'
import { addInts, type Graph, MICROSOFT } from '../graph/index.js'
import { codesOf } from '../plan/onnx-plan.js'
import { type SiteRecord, siteNode } from '../sites/index.js'
import { gemmAsMatMul } from './gemm-as-matmul.js'
import { store, storeScales, stores } from './store.js'

/** Codes and scales in blocks, as MatMulNBits has them. */
interface StoredBlocks {
  readonly bits: number
  readonly size: number
  /** Names of the codes, the scales, and the zero points if there are any. */
  readonly inputs: readonly string[]
}

/** MatMulNBits for products, and GatherBlockQuantized over the same bytes for the lookups that share them. */
export function writeNBits(graph: Graph, weight: PlannedWeight, sites: readonly SiteRecord[], accuracyLevel: number): void {
  const products = sites.filter((s) => s.op !== 'Gather')
  const [owner] = products
  if (owner === undefined) return
  const stored = storeBlocks(graph, weight, owner)
  graph.setOpset(MICROSOFT, Math.max(1, graph.opset(MICROSOFT)))
  const attributes = { K: owner.matrix.columns, N: owner.matrix.rows, bits: stored.bits, block_size: stored.size, ...(accuracyLevel === 0 ? {} : { accuracy_level: accuracyLevel }) }
  for (const record of products) {
    const old = siteNode(graph, record)
    const before = old.input[record.weightInput] ?? ''
    const make = (input: string, output: string): NodeProto => node('MatMulNBits', [input, ...stored.inputs], [output], attributes, MICROSOFT, old.name)
    graph.removeNode(old)
    graph.addNode(...(record.op === 'Gemm' ? gemmAsMatMul(graph, old, record, make) : [make(old.input[record.dataInput] ?? '', record.anchor)]))
    graph.removeIfUnread(before)
  }
  const lookups = sites.filter((s) => s.op === 'Gather')
  if (lookups.length > 0) lookUpStored(graph, lookups, stored)
}

function storeBlocks(graph: Graph, weight: PlannedWeight, owner: SiteRecord): StoredBlocks {
  const { scheme, buffers } = ortNBits.pack(codesOf(weight))
  const { codes, scales, zeroPoints } = buffers
  const bits = bitsOf(scheme.dtype)
  if (!(codes instanceof Uint8Array) || !(scales instanceof Float32Array)) throw new LowbitError('LOWBIT_INTERNAL', { thing: 'layout ort-nbits', found: 'buffers of other types' })
  const base = `${owner.site.weight.name}_q${bits}`
  const inputs = [store(graph, weight, 'codes', base, new Uint8Array(codes)), storeScales(graph, weight, owner, `${base}_scale`, scales)]
  if (stores(weight, 'zeroPoints') && (zeroPoints instanceof Uint8Array || zeroPoints instanceof Float32Array)) inputs.push(store(graph, weight, 'zeroPoints', `${base}_zero_point`, zeroPoints.slice()))
  return { bits, size: scheme.granularity.kind === 'group' ? scheme.granularity.size : owner.matrix.columns, inputs }
}

/** Embeddings over the bytes that the output layer holds already, in another shape. */
function lookUpStored(graph: Graph, sites: readonly SiteRecord[], { bits, size, inputs: stored }: StoredBlocks): void {
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
