import { codeRange, describeScheme, isIntegerCode, LowbitError, middleCode, partOf, zeroPointsOf, type Acceptance, type QTensor, type Scheme, type Site } from '@lowbit/core'
import { ortNBits } from '@lowbit/formats/layouts'
import type { StoredWeight } from '../lm-format.js'

/** Groups that ONNX Runtime's MatMulNBits has kernels for. */
const BLOCKS = [16, 32, 64, 128, 256]

/** The group that takes the place of a scale a row. */
const GROUP = 32

/** Whether MatMulNBits, and GatherBlockQuantized for the embedding, take the codes of a scheme. */
export function onnxAccepts({ id, weight: { columns } }: Site, scheme: Scheme): Acceptance {
  const { dtype, granularity } = scheme
  if (!isIntegerCode(dtype) || codeRange(dtype).max > 255) return { ok: false, reason: `MatMulNBits holds 2, 4 and 8 bits, not ${describeScheme(scheme)}` }
  const isEmbedding = id === 'embed' || id === 'head'
  if (granularity.kind !== 'group' || granularity.axis !== 1 || !BLOCKS.includes(granularity.size)) {
    if (isEmbedding && columns % GROUP !== 0) return { ok: false, reason: `GatherBlockQuantized needs whole groups, and K is ${columns}` }
    return { ok: false, reason: `MatMulNBits needs groups of ${BLOCKS.join(', ')} along K`, instead: { ...scheme, granularity: { kind: 'group', axis: 1, size: GROUP } } }
  }
  if (isEmbedding && columns % granularity.size !== 0) return { ok: false, reason: `GatherBlockQuantized needs whole groups, and K is ${columns}` }
  if (isEmbedding && scheme.zeroPoint === 'float') return { ok: false, reason: 'GatherBlockQuantized takes no float zero points' }
  if (scheme.zeroPoint === 'float' && bitsStored(dtype) === 8) return { ok: false, reason: 'MatMulNBits takes no float zero points with 8 bits' }
  return { ok: true }
}

const bitsStored = (dtype: string): 2 | 4 | 8 => (/8$/.test(dtype) ? 8 : /2$/.test(dtype) ? 2 : 4)

/** Codes as the layout has them: 3 bits and ternary ones in 4; tables that are looked up in at least 4. */
export function inBlocks(q: QTensor, isLookedUp: boolean): QTensor {
  const bits = isLookedUp ? Math.max(4, bitsStored(q.scheme.dtype)) : bitsStored(q.scheme.dtype)
  const dtype = `${codeRange(q.scheme.dtype).min < 0 ? '' : 'u'}int${bits}` as 'int2' | 'int4' | 'int8' | 'uint2' | 'uint4' | 'uint8'
  if (q.scheme.dtype === dtype) return q
  const explicit = middleCode(q.scheme.dtype) === middleCode(dtype) ? q.params.zeroPoints : zeroPointsOf(q)
  return { ...q, scheme: { ...q.scheme, dtype, symmetric: q.scheme.symmetric && explicit === undefined }, params: { ...q.params, ...(explicit === undefined ? {} : { zeroPoints: explicit }) } }
}

/** Codes of MatMulNBits. @throws LOWBIT_UNSUPPORTED for codes that it has no place for */
export function storeOnnx(decided: QTensor, thing: string): StoredWeight {
  const q = inBlocks(decided, thing === 'embed' || thing === 'head')
  const refused = ortNBits.refuses(q.scheme, q.shape)
  if (refused !== undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: describeScheme(decided.scheme), expected: refused })
  const [rows = 0, columns = 0] = q.shape
  const { granularity } = q.scheme
  const size = granularity.kind === 'group' ? granularity.size : columns
  const blocks = Math.ceil(columns / size)
  const bits = bitsStored(q.scheme.dtype)
  const hasZeros = !q.scheme.symmetric || q.params.zeroPoints !== undefined
  const zeroType = q.scheme.zeroPoint === 'float' ? 'float32' : 'uint8'
  const zeroBytes = rows * (zeroType === 'float32' ? blocks * 4 : Math.ceil((blocks * bits) / 8))
  const reason = decided.scheme.dtype === q.scheme.dtype ? undefined : `${decided.scheme.dtype} codes are stored in ${bits} bits`
  return {
    form: 'MatMulNBits',
    parts: [partOf(q)],
    tensors: [
      { role: 'codes', type: 'uint8', shape: [rows, blocks, (size * bits) / 8], bytes: (rows * blocks * size * bits) / 8 },
      { role: 'scales', type: 'float32', shape: [rows * blocks], bytes: rows * blocks * 4 },
      ...(hasZeros ? [{ role: 'zeroPoints', type: zeroType, shape: [zeroBytes / (zeroType === 'float32' ? 4 : 1)], bytes: zeroBytes }] : []),
    ],
    ...(reason === undefined ? {} : { reason }),
  }
}
