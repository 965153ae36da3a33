/** Codes as signed or unsigned small integers; only the low bits count. */
type SmallCodes = ArrayLike<number>

/** Two codes a byte, the first in the low nibble, an odd tail padded with 0: ONNX INT4 / UINT4, ggml. */
export function packNibbles(codes: SmallCodes): Uint8Array<ArrayBuffer> {
  return packBits(codes, 4)
}

/**
 * Codes of 1, 2, 4 or 8 bits, low bits first, the tail of the last byte 0. Signed codes are stored in two's complement.
 */
export function packBits(codes: SmallCodes, bits: 1 | 2 | 4 | 8): Uint8Array<ArrayBuffer> {
  const perByte = 8 / bits
  const mask = 2 ** bits - 1
  const out = new Uint8Array(Math.ceil(codes.length / perByte))
  for (let i = 0; i < codes.length; i++) {
    const at = Math.floor(i / perByte)
    out[at] = (out[at] ?? 0) | (((codes[i] ?? 0) & mask) << ((i % perByte) * bits))
  }
  return out
}

/** The first `count` unsigned codes of 1, 2, 4 or 8 bits, low bits first. */
export function unpackBits(bytes: Uint8Array, bits: 1 | 2 | 4 | 8, count: number): Uint8Array<ArrayBuffer> {
  const perByte = 8 / bits
  const mask = 2 ** bits - 1
  const out = new Uint8Array(count)
  for (let i = 0; i < count; i++) out[i] = ((bytes[Math.floor(i / perByte)] ?? 0) >> ((i % perByte) * bits)) & mask
  return out
}

/** Unsigned codes read as two's complement of `bits` bits. */
export function signExtend(codes: Uint8Array, bits: number): Int8Array<ArrayBuffer> {
  const shift = 32 - bits
  return Int8Array.from(codes, (code) => (code << shift) >> shift)
}
