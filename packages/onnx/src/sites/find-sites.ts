import { LowbitError, type Site } from '@lowbit/core'
import { intAttribute, type NodeProto, onnxTypeOf, tensorBytes } from '@lowbit/formats'
import { type Graph, isOp } from '../graph/index.js'
import { type ConstantChain, constantChain } from './constant-chain.js'
import { numberBlocks } from './blocks.js'
import type { Matrix } from './matrix.js'
import { staysFloat } from './stays-float.js'
import { type SiteOp, type SiteRecord, STORED_MARK } from './site-record.js'

export interface FoundSites {
  readonly records: readonly SiteRecord[]
  readonly skipped: readonly { readonly id: string; readonly reason: string; readonly bytes?: number }[]
}

/** Operators that hold quantized weights already. */
const QUANTIZED_OPS = ['QLinearConv', 'QLinearMatMul', 'ConvInteger', 'MatMulInteger', 'QGemm', 'MatMulNBits', 'MatMulBnb4', 'MatMulFpQ4', 'GatherBlockQuantized', 'DynamicQuantizeMatMul', 'MatMulIntegerToFloat', 'DynamicQuantizeLSTM', 'QAttention', 'QMoE']

/** Operators that the runtime's own optimizer makes of the ones lowbit knows. */
const FUSED_OPS = ['FusedConv', 'FusedMatMul', 'FusedGemm', 'NhwcConv', 'TransposeMatMul', 'FusedMatMulActivation']

/** What a node offers before its weight is looked at. */
interface Candidate {
  readonly op: SiteOp
  readonly weightInput: number
  readonly dataInput: number
}

interface Draft extends Omit<SiteRecord, 'site'> {
  readonly site: Omit<Site, 'block' | 'tiedTo'>
  /** Same stored tensor, seen in the same way: the weight is shared. */
  readonly key: string
  readonly root: string
}

/** Finds the weights of the main graph that can be quantized, in the order they run. */
export function findSites(graph: Graph): FoundSites {
  const drafts: Draft[] = []
  const skipped: { id: string; reason: string; bytes?: number }[] = []
  const listed = new Set<string>()
  const ids = new Map<string, number>()
  const uniqueId = (node: NodeProto): string => {
    const base = node.name === '' || node.docString === STORED_MARK ? node.output[0] ?? node.opType : node.name
    const seen = (ids.get(base) ?? 0) + 1
    ids.set(base, seen)
    return seen === 1 ? base : `${base}#${seen}`
  }
  for (const node of graph.sort()) {
    const other = otherReason(node)
    if (other !== undefined) {
      skipped.push({ id: uniqueId(node), reason: other })
      continue
    }
    const candidate = candidateOf(node)
    if (candidate === undefined) continue
    const chain = constantChain(graph, node.input[candidate.weightInput] ?? '')
    if (chain === undefined) {
      const reason = missingReason(graph, node, candidate)
      if (reason !== undefined) skipped.push({ id: uniqueId(node), reason })
      continue
    }
    const id = uniqueId(node)
    const draft = draftOf(graph, node, candidate, chain, id)
    if (typeof draft === 'string') {
      skipped.push({ id, reason: draft, bytes: tensorBytes(chain.tensor) })
      listed.add(chain.root)
    }
    if (typeof draft === 'object') drafts.push(draft)
  }
  const claimed = new Set([...drafts.map((d) => d.root), ...listed])
  return { records: finish(graph, drafts), skipped: [...skipped, ...staysFloat(graph, claimed)] }
}

function candidateOf(node: NodeProto): Candidate | undefined {
  if (node.docString === STORED_MARK && isOp(node, 'Reshape')) return { op: 'Stored', weightInput: 0, dataInput: 0 }
  if (isOp(node, 'Gather')) return intAttribute(node, 'axis', 0) === 0 ? { op: 'Gather', weightInput: 0, dataInput: 1 } : undefined
  for (const op of ['MatMul', 'Gemm', 'Conv', 'ConvTranspose'] as const) {
    if (isOp(node, op)) return { op, weightInput: 1, dataInput: 0 }
  }
  return undefined
}

function otherReason(node: NodeProto): string | undefined {
  if (QUANTIZED_OPS.includes(node.opType)) return 'already quantized'
  if (node.domain === 'com.microsoft' && FUSED_OPS.includes(node.opType)) return `${node.opType} was made by ONNX Runtime's optimizer: quantize the model as it was exported`
  return undefined
}

/** Why an operator without a stored weight is worth a line; nothing for a product of two activations. */
function missingReason(graph: Graph, node: NodeProto, candidate: Candidate): string | undefined {
  let name = node.input[candidate.weightInput] ?? ''
  for (let i = 0; i < 8; i++) {
    const producer = graph.producer(name)
    if (producer === undefined) break
    // A site of its own.
    if (producer.docString === STORED_MARK) return undefined
    if (producer.opType === 'DequantizeLinear' && graph.constant(producer.input[0] ?? '') !== undefined) return 'already quantized'
    if (!['Transpose', 'Reshape', 'Identity', 'Slice', 'Sub'].some((op) => isOp(producer, op))) break
    name = producer.input[0] ?? ''
  }
  if (candidate.op === 'Conv' || candidate.op === 'ConvTranspose') return 'its weight is computed at run time'
  if (candidate.op === 'MatMul' && constantChain(graph, node.input[0] ?? '') !== undefined) return 'its constant is the left factor, and small'
  return undefined
}

/** The site, the reason why it is none, or nothing for what is not a weight at all. */
function draftOf(graph: Graph, node: NodeProto, candidate: Candidate, chain: ConstantChain, id: string): Draft | string | undefined {
  const { op, weightInput, dataInput } = candidate
  const input = node.input[dataInput]
  const output = node.output[0]
  if (input === undefined || input === '' || output === undefined || output === '') return 'its input or its output has no name'
  const own = onnxTypeOf(chain.type)
  // Expanded as float32 in front of a Cast.
  const dtype = op === 'Stored' && (own === 'float64' || own === 'bfloat16') ? 'float32' : own
  const isFloat = dtype === 'float32' || dtype === 'float16'
  const rank = chain.shape.length
  if (op === 'Gather' && (rank !== 2 || (!isFloat && dtype !== 'float64' && dtype !== 'bfloat16'))) return undefined
  if (!isFloat) return `its weight is ${dtype ?? 'of an unknown type'}, not float32 or float16`
  if ((op === 'MatMul' || op === 'Gemm') && rank !== 2) return `its weight has ${rank} dimensions, not 2`
  if ((op === 'Conv' || op === 'ConvTranspose') && rank < 3) return `its weight has ${rank} dimensions, not 3 or more`
  if (chain.shape.some((size) => size === 0)) return 'its weight is empty'
  // The scales of a table of codes are such a table too.
  if (op === 'Gather' && chain.shape[1] === 1) return 'its table has one column'
  const matrix = matrixOf(node, op, chain.shape)
  if (typeof matrix === 'string') return matrix
  return {
    op,
    anchor: output,
    weightInput,
    dataInput,
    matrix,
    floatType: dtype,
    root: chain.root,
    key: weightKey(chain, matrix),
    site: {
      id,
      kind: op === 'Stored' ? 'stored' : op === 'Gather' ? 'embedding' : op === 'MatMul' || op === 'Gemm' ? 'linear' : 'conv',
      op: op === 'Stored' ? readersOf(graph, output) : op,
      input: { name: input },
      output: { name: output, dtype },
      weight: {
        name: node.input[weightInput] ?? '',
        dtype,
        rows: matrix.rows,
        columns: matrix.columns,
        shape: chain.shape,
        groups: matrix.groups,
        bytes: tensorBytes(chain.tensor),
        columnsPerChannel: matrix.columnsPerChannel,
      },
    },
  }
}

/** The operators that read a tensor, by name. */
function readersOf(graph: Graph, name: string): string {
  const readers = graph.consumers(name).flatMap((n) => (n.docString === STORED_MARK ? graph.consumers(n.output[0] ?? '') : [n]))
  return [...new Set(readers.map((n) => n.opType))].join(', ')
}

/**
 * Equal for operators that see one stored tensor as the same `[N, K]`: an embedding and the output layer that reads its table
 * transposed are such a pair.
 */
function weightKey({ root, tensor, steps }: ConstantChain, matrix: Matrix): string {
  const size = [matrix.rows, matrix.columns, matrix.groups]
  const isPlain = tensor.dims.length === 2 && steps.every((s) => s.kind === 'transpose')
  if (!isPlain) return JSON.stringify([root, steps.map((s) => (s.kind === 'reshape' ? s.shape : s.perm)), matrix.orientation, ...size])
  const turns = steps.filter((s) => s.kind === 'transpose' && s.perm[0] === 1).length + (matrix.orientation === 'KN' ? 1 : 0)
  return JSON.stringify([root, turns % 2, ...size])
}

function matrixOf(node: NodeProto, op: SiteOp, shape: readonly number[]): Matrix | string {
  const [a = 0, b = 0, ...kernel] = shape
  const plain = { groups: 1, columnsPerChannel: 1, shape }
  if (op === 'Gather' || op === 'Stored') return { ...plain, orientation: 'NK', rows: a, columns: b }
  if (op === 'Gemm' && intAttribute(node, 'transB', 0) !== 0) return { ...plain, orientation: 'NK', rows: a, columns: b }
  if (op === 'MatMul' || op === 'Gemm') return { ...plain, orientation: 'KN', rows: b, columns: a }
  const groups = intAttribute(node, 'group', 1)
  const columnsPerChannel = kernel.reduce((x, y) => x * y, 1)
  if (!Number.isInteger(groups) || groups < 1 || a % groups !== 0) return `${a} channels do not divide into ${groups} groups`
  if (op === 'Conv') return { orientation: 'NK', rows: a, columns: b * columnsPerChannel, groups, columnsPerChannel, shape }
  return { orientation: 'convTranspose', rows: b * groups, columns: (a / groups) * columnsPerChannel, groups, columnsPerChannel, shape }
}

/** Ties, shared weights and blocks: what is known only when all sites are. */
function finish(graph: Graph, drafts: readonly Draft[]): SiteRecord[] {
  const blocks = numberBlocks(graph, drafts.map((d) => ({ id: d.site.id, anchor: d.anchor, weight: d.root })))
  const owners = new Map<string, string>()
  const anchors = new Set(drafts.map((d) => d.anchor))
  return drafts.map(({ root, key, site, ...rest }, i): SiteRecord => {
    const owner = owners.get(key)
    if (owner === undefined) owners.set(key, site.id)
    const shared = isReadElsewhere(graph, root, anchors)
    return {
      ...rest,
      site: { ...site, weight: { ...site.weight, ...(shared ? { shared } : {}) }, ...(owner === undefined ? {} : { tiedTo: owner }), block: blocks[i] ?? 0 },
    }
  })
}

/** True if anything but sites reads a stored tensor, directly or through the operators that only move its elements. */
function isReadElsewhere(graph: Graph, name: string, anchors: ReadonlySet<string>, depth = 0): boolean {
  if (graph.isOutput(name)) return true
  return graph.consumers(name).some((node) => {
    if (anchors.has(node.output[0] ?? '')) return graph.captures(node).has(name)
    const moves = ['Identity', 'Transpose', 'Reshape', 'Squeeze', 'Unsqueeze', 'Flatten'].some((op) => isOp(node, op))
    return !moves || depth > 8 || isReadElsewhere(graph, node.output[0] ?? '', anchors, depth + 1)
  })
}

/** @throws LOWBIT_NOT_FOUND naming a few of the sites there are */
export function expectRecord(records: readonly SiteRecord[], id: string): SiteRecord {
  const found = records.find((r) => r.site.id === id)
  if (found === undefined) {
    throw new LowbitError('LOWBIT_NOT_FOUND', { thing: `site '${id}'`, found: 'the model has no site of this name', expected: records.slice(0, 3).map((r) => `'${r.site.id}'`).join(', ') + (records.length > 3 ? ' …' : ''), fix: 'list them with sites()' })
  }
  return found
}

