import { type QTensor, type Scheme, zeroPointsOf } from '@lowbit/core'
import type { SiteRecord } from '../sites/index.js'
import type { NewWeight } from './builder.js'
import { stored } from './onnx-plan.js'
import { expectStoredType, plainGranularity, wholeZeroPoints } from './stored-codes.js'

const isPowerOfTwo = (n: number): boolean => Number.isInteger(Math.log2(n))

/** True for 8-bit codes, one scale or one an entry, whole zero points: what {@link looked} takes. */
export function isGatherable(weight: QTensor): boolean {
  const { dtype, granularity, zeroPoint } = plainGranularity(weight).scheme
  return (dtype === 'int8' || dtype === 'uint8') && granularity.kind !== 'group' && zeroPoint !== 'float'
}

/**
 * An embedding that looks 8-bit codes up and scales what it found. Dequantizing the table first would touch every entry on every
 * run.
 */
export function looked(sites: readonly SiteRecord[], owner: SiteRecord, weight: QTensor): NewWeight {
  const q = plainGranularity(weight)
  const shape = q.scheme.granularity.kind === 'channel' ? [owner.matrix.rows, 1] : []
  const zeros = wholeZeroPoints(q) === undefined ? [] : [stored('zeroPoints', owner.floatType, shape)]
  return { owner, sites, q, form: 'lookup', tensors: [stored('codes', q.scheme.dtype === 'uint8' ? 'uint8' : 'int8', owner.matrix.shape), stored('scales', owner.floatType, shape), ...zeros], operator: 'Gather' }
}

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

/** Block size of GatherBlockQuantized: a whole entry is one block where there are no groups. */
export function lookupBlock({ matrix }: SiteRecord, { scheme: { granularity } }: QTensor): number {
  return granularity.kind === 'group' ? granularity.size : Math.max(16, 2 ** Math.ceil(Math.log2(matrix.columns)))
}

/** Embeddings that look up blocks of codes and scale what they found. 8-bit tables are stored unsigned: the operator knows no int8. */
export function blockLooked(sites: readonly SiteRecord[], owner: SiteRecord, weight: QTensor): NewWeight {
  const q = plainGranularity(weight)
  const { rows, columns } = owner.matrix
  const blocks = Math.ceil(columns / lookupBlock(owner, q))
  const type = expectStoredType(q.scheme, `weight of site '${owner.site.id}'`)
  const isByte = type === 'int8' || type === 'uint8'
  const shift = type === 'int8' ? 128 : 0
  const storedType = isByte ? 'uint8' : type
  const zeros = zeroPointsOf(q)
  const hasZeros = isByte ? zeros.some((z) => z + shift !== 128) : zeros.some((z) => z !== 0)
  return {
    owner,
    sites,
    q,
    form: 'blocks',
    shift,
    tensors: [stored('codes', storedType, [rows, columns]), stored('scales', owner.floatType, [rows, blocks]), ...(hasZeros ? [stored('zeroPoints', storedType, [rows, blocks])] : [])],
    operator: 'GatherBlockQuantized',
  }
}
