import { LowbitError } from '@lowbit/core'

/** Codes of 2 or 4 bits, the first in the lowest bits of a byte; the last byte may be part empty. */
export function unpackBits(packed: Uint8Array, bits: number, count: number, signed: false): Uint8Array<ArrayBuffer>
export function unpackBits(packed: Uint8Array, bits: number, count: number, signed: true): Int8Array<ArrayBuffer>
export function unpackBits(packed: Uint8Array, bits: number, count: number, signed: boolean): Uint8Array<ArrayBuffer> | Int8Array<ArrayBuffer> {
  const perByte = 8 / bits
  const mask = (1 << bits) - 1
  const shift = 32 - bits
  const out = signed ? new Int8Array(count) : new Uint8Array(count)
  for (let i = 0; i < count; i++) {
    const code = (packed[Math.floor(i / perByte)] >> ((i % perByte) * bits)) & mask
    out[i] = signed ? (code << shift) >> shift : code
  }
  return out
}

/**
 * The reverse of {@link unpackBits}.
 * @throws LOWBIT_DTYPE for a code that does not fit.
 */
export function packBits(codes: Int8Array | Uint8Array, bits: number, thing: string): Uint8Array<ArrayBuffer> {
  const perByte = 8 / bits
  const signed = codes instanceof Int8Array
  const low = signed ? -(1 << (bits - 1)) : 0
  const high = signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1
  const mask = (1 << bits) - 1
  const out = new Uint8Array(Math.ceil(codes.length / perByte))
  codes.forEach((code, i) => {
    if (code < low || code > high) throw new LowbitError('LOWBIT_DTYPE', { thing, found: `code ${code} at element ${i}`, expected: `${low} … ${high} for ${bits} bits` })
    out[Math.floor(i / perByte)] |= (code & mask) << ((i % perByte) * bits)
  })
  return out
}
