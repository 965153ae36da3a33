import { bitsOf, middleCode, type QTensor, type Scheme } from '@lowbit/core'
import type { SiteRecord } from '../sites/index.js'
import { neverAccepted, YES } from './accept.js'
import type { NewWeight } from './builder.js'
import { decidedWeights } from './by-weight.js'
import { dequantized } from './dequantized.js'
import type { Format } from './format.js'
import { blockLooked, isBlockGatherable, isGatherable, looked } from './lookups.js'
import { stored } from './onnx-plan.js'
import { planReads } from './reads.js'
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
export const matmulNBits: Format = {
  name: 'matmul-nbits',
  accepts: (_record, scheme) => neverAccepted(scheme) ?? YES,
  plan(job, build) {
    const opset = job.graph.opset()
    const { expand } = job.settings
    const read = planReads(job, build)
    for (const { owner, sites, q } of decidedWeights(read)) {
      const lookups = sites.filter((s) => s.op === 'Gather')
      const products = sites.filter((s) => s.op !== 'Gather')
      const [product] = products
      if (product !== undefined && !isMatMulNBits(product, q.scheme)) {
        const reason = fallbackReason(product, q.scheme)
        if (reason !== undefined) build.note(`${product.site.id}: ${reason}; DequantizeLinear instead`)
        // A table that is dequantized for an output layer serves its lookups as well.
        build.weight(dequantized(owner, sites, q, opset, expand, reason, read.inputOf))
        continue
      }
      const weight = product === undefined ? undefined : inBlocks(product, products, q)
      const isShared = weight !== undefined && lookups.length > 0 && isBlockGatherable(q) && isShareable(owner, weight.q)
      if (weight !== undefined) build.weight({ ...weight, input: read.inputOf, ...(isShared ? { sites: [...products, ...lookups] } : {}) })
      const [first] = lookups
      if (first === undefined || isShared) continue
      if (isBlockGatherable(q)) build.weight(blockLooked(lookups, first, q))
      else if (isGatherable(q)) build.weight(looked(lookups, first, q))
      else build.weight(dequantized(owner, lookups, q, opset, expand))
    }
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

/** Blocks of 2, 4 or 8 bits along K; 3 bits and ternary codes are stored in 4. */
function inBlocks(owner: SiteRecord, sites: readonly SiteRecord[], codes: QTensor): NewWeight {
  const q = /^u?int[248]$/.test(codes.scheme.dtype) ? codes : widen(codes, codes.scheme.dtype.startsWith('u') ? 'uint4' : 'int4')
  const { rows, columns } = owner.matrix
  const { granularity } = q.scheme
  const size = granularity.kind === 'group' ? granularity.size : columns
  const blocks = Math.ceil(columns / size)
  const bits = bitsOf(q.scheme.dtype)
  const zeros = !hasZeroPoints(q) ? [] : q.scheme.zeroPoint === 'float' ? [stored('zeroPoints', owner.floatType, [rows * blocks])] : [stored('zeroPoints', 'uint8', [rows * Math.ceil((blocks * bits) / 8)])]
  const tensors = [stored('codes', 'uint8', [rows, blocks, (size * bits) / 8]), stored('scales', owner.floatType, [rows * blocks]), ...zeros]
  return { owner, sites, q, form: 'nbits', tensors, operator: (record) => (record.op === 'Gather' ? 'GatherBlockQuantized' : 'MatMulNBits') }
}

function hasZeroPoints({ scheme, params }: QTensor): boolean {
  const middle = middleCode(scheme.dtype)
  return !scheme.symmetric || (params.zeroPoints?.some((zero) => zero !== middle) ?? false)
}

/** True if the bytes of MatMulNBits are those of GatherBlockQuantized: no padding between rows, zero points packed. */
function isShareable({ matrix: { columns } }: SiteRecord, q: QTensor): boolean {
  const { granularity } = q.scheme
  const size = granularity.kind === 'group' ? granularity.size : columns
  const bits = bitsOf(q.scheme.dtype)
  return columns % size === 0 && bits !== 2 && (!hasZeroPoints(q) || ((columns / size) * bits) % 8 === 0)
}
