import { decodeBfloat16, encodeBfloat16 } from '../numbers/bfloat16.js'
import { LowbitError } from '../errors.js'
import { decodeFloat16, encodeFloat16 } from '../numbers/float16.js'
import { decodeMxfp4, decodeNvfp4, decodeQ4_0, decodeQ4_1, decodeQ5_0, decodeQ5_1, decodeQ8_0, decodeTQ1_0, decodeTQ2_0 } from './ggml-decode.js'
import { encodeMxfp4, encodeQ4_0, encodeQ4_1, encodeQ5_0, encodeQ5_1, encodeQ8_0, encodeTQ1_0, encodeTQ2_0 } from './ggml-encode.js'
import { decodeIQ4_NL, decodeIQ4_XS, decodeQ2_K, decodeQ3_K, decodeQ4_K, decodeQ5_K, decodeQ6_K } from './ggml-k.js'

/** A tensor type of ggml: how a block of values lies in bytes. */
export interface GgmlType {
  /** Number in a GGUF file. */
  readonly id: number
  /** Values a block. */
  readonly block: number
  /** Bytes a block. */
  readonly bytes: number
  readonly decode: (bytes: Uint8Array, out: Float32Array) => void
  /** Absent where ggml needs a search that is not written here. */
  readonly encode?: (x: Float32Array, out: Uint8Array) => void
}

const F32: GgmlType = {
  id: 0, block: 1, bytes: 4,
  decode: (bytes, out) => { out[0] = new DataView(bytes.buffer, bytes.byteOffset, 4).getFloat32(0, true) },
  encode: (x, out) => new DataView(out.buffer, out.byteOffset, 4).setFloat32(0, x[0] ?? 0, true),
}

/** Two bytes a value, low byte first. */
function half(id: number, decode: (bits: number) => number, encode: (x: number) => number): GgmlType {
  return {
    id, block: 1, bytes: 2,
    decode: (bytes, out) => { out[0] = decode((bytes[0] ?? 0) | ((bytes[1] ?? 0) << 8)) },
    encode(x, out) {
      const bits = encode(x[0] ?? 0)
      out[0] = bits & 255
      out[1] = bits >> 8
    },
  }
}

/** Types of ggml by name, with their numbers in GGUF. */
export const GGML_TYPES = {
  F32,
  F16: half(1, decodeFloat16, encodeFloat16),
  Q4_0: { id: 2, block: 32, bytes: 18, decode: decodeQ4_0, encode: encodeQ4_0 },
  Q4_1: { id: 3, block: 32, bytes: 20, decode: decodeQ4_1, encode: encodeQ4_1 },
  Q5_0: { id: 6, block: 32, bytes: 22, decode: decodeQ5_0, encode: encodeQ5_0 },
  Q5_1: { id: 7, block: 32, bytes: 24, decode: decodeQ5_1, encode: encodeQ5_1 },
  Q8_0: { id: 8, block: 32, bytes: 34, decode: decodeQ8_0, encode: encodeQ8_0 },
  Q2_K: { id: 10, block: 256, bytes: 84, decode: decodeQ2_K },
  Q3_K: { id: 11, block: 256, bytes: 110, decode: decodeQ3_K },
  Q4_K: { id: 12, block: 256, bytes: 144, decode: decodeQ4_K },
  Q5_K: { id: 13, block: 256, bytes: 176, decode: decodeQ5_K },
  Q6_K: { id: 14, block: 256, bytes: 210, decode: decodeQ6_K },
  IQ4_NL: { id: 20, block: 32, bytes: 18, decode: decodeIQ4_NL },
  IQ4_XS: { id: 23, block: 256, bytes: 136, decode: decodeIQ4_XS },
  BF16: half(30, decodeBfloat16, encodeBfloat16),
  TQ1_0: { id: 34, block: 256, bytes: 54, decode: decodeTQ1_0, encode: encodeTQ1_0 },
  TQ2_0: { id: 35, block: 256, bytes: 66, decode: decodeTQ2_0, encode: encodeTQ2_0 },
  MXFP4: { id: 39, block: 32, bytes: 17, decode: decodeMxfp4, encode: encodeMxfp4 },
  NVFP4: { id: 40, block: 64, bytes: 36, decode: decodeNvfp4 },
} as const satisfies Record<string, GgmlType>

export type GgmlTypeName = keyof typeof GGML_TYPES

/** Name of a type number of GGUF, if it is one of {@link GGML_TYPES}. */
export function ggmlTypeName(id: number): GgmlTypeName | undefined {
  return (Object.keys(GGML_TYPES) as GgmlTypeName[]).find((name) => GGML_TYPES[name].id === id)
}

/**
 * Values of whole blocks.
 * @throws LOWBIT_FORMAT if the bytes are not whole blocks
 */
export function dequantizeGgml(name: GgmlTypeName, bytes: Uint8Array): Float32Array<ArrayBuffer> {
  const type: GgmlType = GGML_TYPES[name]
  if (bytes.length % type.bytes !== 0) throw new LowbitError('LOWBIT_FORMAT', { thing: `ggml ${name}`, found: `${bytes.length} bytes`, expected: `whole blocks of ${type.bytes} bytes` })
  const blocks = bytes.length / type.bytes
  const out = new Float32Array(blocks * type.block)
  for (let b = 0; b < blocks; b++) type.decode(bytes.subarray(b * type.bytes, (b + 1) * type.bytes), out.subarray(b * type.block, (b + 1) * type.block))
  return out
}

/**
 * Whole blocks from values, as ggml's reference quantizers make them; rows must be multiples of the block.
 * @throws LOWBIT_SHAPE if the values are not whole blocks, LOWBIT_UNSUPPORTED for types that are only read
 */
export function quantizeGgml(name: GgmlTypeName, x: Float32Array): Uint8Array<ArrayBuffer> {
  const type: GgmlType = GGML_TYPES[name]
  if (type.encode === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `ggml ${name}`, found: 'asked to write it', expected: Object.entries<GgmlType>(GGML_TYPES).flatMap(([n, t]) => (t.encode === undefined ? [] : [n])).join(', ') })
  if (x.length % type.block !== 0) throw new LowbitError('LOWBIT_SHAPE', { thing: `ggml ${name}`, found: `${x.length} values`, expected: `whole blocks of ${type.block}` })
  const blocks = x.length / type.block
  const out = new Uint8Array(blocks * type.bytes)
  for (let b = 0; b < blocks; b++) type.encode(x.subarray(b * type.block, (b + 1) * type.block), out.subarray(b * type.bytes, (b + 1) * type.bytes))
  return out
}
