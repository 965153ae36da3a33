import type { Codes, QTensor } from '../qtensor.js'
import { bitsOf, INTEGER_CODES, isIntegerCode, type CodeType } from '../scheme.js'

/** An array for codes of a type, one a byte (16-bit types two): signed types signed, table types unsigned. */
export function allocateCodes(dtype: CodeType, length: number): Codes {
  const signed = isIntegerCode(dtype) && INTEGER_CODES[dtype].min < 0
  if (bitsOf(dtype) > 8) return signed ? new Int16Array(length) : new Uint16Array(length)
  return signed ? new Int8Array(length) : new Uint8Array(length)
}

/** The fixed middle of a type's code range, the zero point where none is stored: 0 for signed types, `2^(bits-1)` for unsigned ones. */
export function middleCode(dtype: CodeType): number {
  return isIntegerCode(dtype) && INTEGER_CODES[dtype].min === 0 ? 2 ** (INTEGER_CODES[dtype].bits - 1) : 0
}

/** Zero point of each granule, the fixed middle where none is stored. */
export function zeroPointsOf(q: QTensor): Int32Array | Float32Array {
  return q.params.zeroPoints ?? new Int32Array(q.params.scales.length).fill(middleCode(q.scheme.dtype))
}
