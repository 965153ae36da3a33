import { type Json, LowbitError, ortNBits, type QTensor, type Scheme } from '@lowbit/core'
import { node, type NodeProto } from '@lowbit/formats'
import { type Graph, MICROSOFT } from '../graph/index.js'
import { pointWeightAt, type SiteRecord, siteNode } from '../sites/index.js'
import { neverAccepted, YES } from './accept.js'
import { eachWeight } from './by-weight.js'
import { addConstant, addFloats } from './constants.js'
import { dequantizeWeight } from './dequantize-weight.js'
import type { EmitJob, Emitter } from './emitter.js'
import { expandSetting } from './expand-setting.js'
import { gatherBlockQuantized, gatherStoredBlocks, isBlockGatherable, isShareable, type StoredBlocks } from './gather-block-quantized.js'
import { gatherCodes, isGatherable } from './gather-codes.js'
import { gemmAsMatMul } from './gemm-as-matmul.js'
import { storedType, widen } from './stored-codes.js'

/** ONNX Runtime has kernels for these block sizes. */
const BLOCK_SIZES = [16, 32, 64, 128, 256]

/**
 * Weight-only with ONNX Runtime's operators for it: MatMulNBits for MatMul and Gemm, GatherBlockQuantized for embeddings.
 * Convolutions, and matrices without groups, get a DequantizeLinear in front of their weight.
 *
 * Settings: `accuracyLevel` 0 (default: activations stay in float32) to 4 (activations are rounded to int8 a block, faster);
 * `expand` `run` (default) or `load`, for the weights that DequantizeLinear takes.
 */
export const matmulNBitsEmitter: Emitter = {
  format: 'matmul-nbits',
  accepts: (_record, scheme) => neverAccepted(scheme) ?? YES,
  emit(job: EmitJob): void {
    const { graph } = job
    const expand = expandSetting(job.settings)
    const accuracyLevel = accuracyLevelOf(job.settings['accuracyLevel'])
    eachWeight(job, ({ owner, sites, q }) => {
      const lookups = sites.filter((s) => s.op === 'Gather')
      const products = sites.filter((s) => s.op !== 'Gather')
      const [product] = products
      const stored = product !== undefined && isMatMulNBits(product, q.scheme) ? matMulNBits(graph, products, q, accuracyLevel) : undefined
      if (product !== undefined && stored === undefined) {
        const reason = fallbackReason(product, q.scheme)
        if (reason !== undefined) job.notes.push(`${product.site.id}: ${reason}; DequantizeLinear instead`)
        // A table that is dequantized for an output layer serves its lookups as well.
        pointWeightAt(graph, sites, dequantizeWeight(graph, owner, q, expand))
      } else if (lookups.length > 0) {
        if (stored !== undefined && isBlockGatherable(q) && isShareable(owner, stored)) gatherStoredBlocks(graph, lookups, stored)
        else if (isBlockGatherable(q)) gatherBlockQuantized(graph, lookups, q)
        else if (isGatherable(q)) gatherCodes(graph, lookups, q)
        else pointWeightAt(graph, lookups, dequantizeWeight(graph, owner, q, expand))
      }
    })
  },
}

/** True where MatMulNBits takes the weight. */
function isMatMulNBits(record: SiteRecord, scheme: Scheme): boolean {
  return record.site.kind === 'linear' && scheme.granularity.kind === 'group' && fallbackReason(record, scheme) === undefined
}

/** Why a matrix with groups does not become MatMulNBits; convolutions and channels never do, which needs no words. */
function fallbackReason(record: SiteRecord, scheme: Scheme): string | undefined {
  if (record.site.kind !== 'linear' || scheme.granularity.kind !== 'group') return undefined
  const type = storedType(scheme)
  if (!BLOCK_SIZES.includes(scheme.granularity.size)) return `MatMulNBits has no kernel for groups of ${scheme.granularity.size}`
  if (type === 'int16' || type === 'uint16') return 'MatMulNBits has no 16-bit weights'
  if (scheme.zeroPoint === 'float' && (type === 'int8' || type === 'uint8')) return 'MatMulNBits takes no float zero points with 8 bits'
  return undefined
}

/** @returns what was stored: codes, scales, and zero points if there are any */
function matMulNBits(graph: Graph, sites: readonly SiteRecord[], q: QTensor, accuracyLevel: number): StoredBlocks | undefined {
  const [owner] = sites
  if (owner === undefined) return undefined
  const { rows: N, columns: K } = owner.matrix
  const packable = /^u?int[248]$/.test(q.scheme.dtype) ? q : widen(q, q.scheme.dtype.startsWith('u') ? 'uint4' : 'int4')
  const { scheme, buffers } = ortNBits.pack(packable)
  const { codes, scales, zeroPoints } = buffers
  const size = scheme.granularity.kind === 'group' ? scheme.granularity.size : K
  const blocks = Math.ceil(K / size)
  const bits = scheme.dtype.endsWith('8') ? 8 : scheme.dtype.endsWith('2') ? 2 : 4
  if (!(codes instanceof Uint8Array) || !(scales instanceof Float32Array)) throw new LowbitError('LOWBIT_INTERNAL', { thing: 'layout ort-nbits', found: 'buffers of other types' })
  const base = `${owner.site.weight.name}_q${bits}`
  const stored = [
    addConstant(graph, base, { dtype: 'uint8', shape: [N, blocks, (size * bits) / 8], data: new Uint8Array(codes) }),
    addFloats(graph, `${base}_scale`, new Float32Array(scales), [N * blocks], owner.floatType),
  ]
  if (zeroPoints instanceof Uint8Array) stored.push(addConstant(graph, `${base}_zero_point`, { dtype: 'uint8', shape: [zeroPoints.length], data: new Uint8Array(zeroPoints) }))
  else if (zeroPoints instanceof Float32Array) stored.push(addFloats(graph, `${base}_zero_point`, new Float32Array(zeroPoints), [N * blocks], owner.floatType))
  graph.setOpset(MICROSOFT, Math.max(1, graph.opset(MICROSOFT)))
  for (const record of sites) {
    const old = siteNode(graph, record)
    const weight = old.input[record.weightInput] ?? ''
    const attributes = { K, N, bits, block_size: size, ...(accuracyLevel === 0 ? {} : { accuracy_level: accuracyLevel }) }
    const make = (input: string, output: string): NodeProto => node('MatMulNBits', [input, ...stored], [output], attributes, MICROSOFT, old.name)
    graph.removeNode(old)
    graph.addNode(...(record.op === 'Gemm' ? gemmAsMatMul(graph, old, record, make) : [make(old.input[record.dataInput] ?? '', record.anchor)]))
    graph.removeIfUnread(weight)
  }
  return { bits, size, inputs: stored }
}

function accuracyLevelOf(setting: Json | undefined): number {
  if (setting === undefined) return 0
  if (typeof setting === 'number' && [0, 1, 2, 3, 4].includes(setting)) return setting
  throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'setting accuracyLevel', found: JSON.stringify(setting), expected: '0 (float32), 1 (float32), 2 (float16), 3 (bfloat16) or 4 (int8 activations)' })
}

