import { LowbitError, middleCode, type QTensor, type Scheme, zeroPointsOf } from '@lowbit/core'

/** Integer types that DequantizeLinear reads. */
export type StoredType = 'int4' | 'uint4' | 'int8' | 'uint8' | 'int16' | 'uint16'

/** The type that codes of a scheme are stored as: the smallest that holds them, of the same sign. Undefined for codebooks. */
export function storedType({ dtype }: Scheme): StoredType | undefined {
  switch (dtype) {
    case 'int2': case 'int3': case 'int4': case 'ternary': case 'binary': return 'int4'
    case 'uint2': case 'uint3': case 'uint4': return 'uint4'
    case 'int8': case 'uint8': case 'int16': case 'uint16': return dtype
    default: return undefined
  }
}

/** @throws LOWBIT_UNSUPPORTED for codebooks and small floats */
export function expectStoredType(scheme: Scheme, thing: string): StoredType {
  const type = storedType(scheme)
  if (type === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `${scheme.dtype} codes`, expected: 'integer codes', fix: 'choose int8, int4 or another integer type' })
  return type
}

/** The same codes under a scheme of 4 or 8 bits, where 2, 3, or ternary codes have no type of their own. Zero points become explicit. */
export function widen(q: QTensor, dtype: 'int4' | 'uint4' | 'int8' | 'uint8'): QTensor {
  if (q.scheme.dtype === dtype) return q
  const zero = middleCode(q.scheme.dtype)
  const explicit = zero === middleCode(dtype) ? q.params.zeroPoints : zeroPointsOf(q)
  return {
    ...q,
    scheme: { ...q.scheme, dtype, symmetric: q.scheme.symmetric && explicit === undefined },
    params: { ...q.params, ...(explicit === undefined ? {} : { zeroPoints: explicit }) },
  }
}

/**
 * The same values without zero points, where all of those are one odd multiple of a half (balanced levels): codes are doubled and
 * scales halved, which is exact. Other codes are given back as they are.
 */
export function withWholeZeros(q: QTensor): QTensor {
  if (q.scheme.zeroPoint !== 'float') return q
  const zeros = zeroPointsOf(q)
  const [zero = 0] = zeros
  if (Number.isInteger(zero) || !Number.isInteger(2 * zero) || zeros.some((z) => z !== zero)) return q
  const doubled = Int16Array.from(q.codes, (code) => 2 * (code - zero))
  const fits = (limit: number): boolean => doubled.every((code) => code >= -limit && code < limit)
  const { granularity } = q.scheme
  if (!fits(128)) return q
  return { shape: q.shape, scheme: { dtype: fits(8) ? 'int4' : 'int8', granularity, symmetric: true }, codes: Int8Array.from(doubled), params: { shape: q.params.shape, scales: q.params.scales.map((s) => s / 2) } }
}

/** Groups along K that are as long as K are channels: one form less to tell apart. */
export function plainGranularity(q: QTensor): QTensor {
  const { granularity } = q.scheme
  const [, columns = 0] = q.shape
  if (granularity.kind !== 'group' || granularity.axis !== 1 || granularity.size < columns) return q
  return { ...q, scheme: { ...q.scheme, granularity: { kind: 'channel', axis: 0 } }, params: { ...q.params, shape: [q.shape[0] ?? 0] } }
}

/** Codes or zero points in the array type that a stored type is written from. */
export function storedArray(type: StoredType, values: ArrayLike<number>): Int8Array<ArrayBuffer> | Uint8Array<ArrayBuffer> | Int16Array<ArrayBuffer> | Uint16Array<ArrayBuffer> {
  switch (type) {
    case 'int4': case 'int8': return new Int8Array(values)
    case 'uint4': case 'uint8': return new Uint8Array(values)
    case 'int16': return new Int16Array(values)
    case 'uint16': return new Uint16Array(values)
  }
}

/** dtype of the array that a stored type is written from. */
export function hostType(type: StoredType): 'int8' | 'uint8' | 'int16' | 'uint16' {
  return type === 'int4' ? 'int8' : type === 'uint4' ? 'uint8' : type
}

/** Zero points as whole numbers; undefined where they are all 0, the default of the operators. */
export function wholeZeroPoints(q: QTensor): Int32Array | undefined {
  const zeros = zeroPointsOf(q)
  if (zeros.every((z) => z === 0)) return undefined
  return zeros instanceof Int32Array ? zeros : Int32Array.from(zeros)
}
