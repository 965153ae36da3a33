/** What a shader may use: read from the adapter, or switched off to test the other path. */
export interface ShaderPaths {
  /** The WGSL language feature `packed_4x8_integer_dot_product`. */
  readonly dot4: boolean
  /** The device feature `subgroups`. */
  readonly subgroups: boolean
  /** The device feature `shader-f16`. Only stored numbers are halves; sums are always float32. */
  readonly f16: boolean
}

/** A shader of one matrix: what the device may use, and whether its scales and zero points are kept as halves. */
export interface ShaderVariant extends ShaderPaths {
  readonly half: boolean
}

/** How the codes of a matrix are kept: 2, 4 or 8 bits, or floats. */
export type Kind = 2 | 4 | 8 | 32

export const PARAMS = /* wgsl */ `
struct Params {
  m: u32, n: u32, columns: u32, groups: u32,
  /** Codes in a group without padding; activation words and code words in a group with it. */
  used: u32, actWords: u32, codeWords: u32,
  /** What was added to codes to store them. */
  offset: i32,
  /** Threads that share a group in the row kernel. */
  lanes: u32,
  hasZeros: u32, hasBias: u32, block: u32,
}
`

/** Four signed bytes times four signed bytes, summed. */
export function dot4(paths: ShaderPaths): string {
  return paths.dot4
    ? 'fn dot4(a: u32, b: u32) -> i32 { return dot4I8Packed(a, b); }'
    : `fn byteOf(v: u32, i: u32) -> i32 { return extractBits(bitcast<i32>(v), 8u * i, 8u); }
fn dot4(a: u32, b: u32) -> i32 { return byteOf(a, 0u) * byteOf(b, 0u) + byteOf(a, 1u) * byteOf(b, 1u) + byteOf(a, 2u) * byteOf(b, 2u) + byteOf(a, 3u) * byteOf(b, 3u); }`
}

/** Activation words that one word of codes meets: 4 codes of 8 bits, 8 of 4, 16 of 2. */
export function wordsPerCode(kind: 2 | 4 | 8): number {
  return 8 / kind
}

/** `fourCodes(word, part)`: the four codes that meet the `part`-th activation word. Field f of byte j holds k = 4f + j. */
export function fourCodes(kind: 2 | 4 | 8): string {
  if (kind === 8) return 'fn fourCodes(word: u32, part: u32) -> u32 { return word; }'
  return kind === 4
    ? 'fn fourCodes(word: u32, part: u32) -> u32 { return (word >> (4u * part)) & 0x0f0f0f0fu; }'
    : 'fn fourCodes(word: u32, part: u32) -> u32 { return (word >> (2u * part)) & 0x03030303u; }'
}

/** The bindings of scales and zero points, and `scaleOf`, `zeroOf`: floats, halves, or pairs of halves in words where the device has no halves. */
export function tables({ half, f16 }: ShaderVariant): string {
  const type = half ? (f16 ? 'f16' : 'u32') : 'f32'
  const read = (table: string): string => (half && !f16 ? `unpack2x16float(${table}[i / 2u])[i % 2u]` : `f32(${table}[i])`)
  return `@group(0) @binding(2) var<storage, read> scales: array<${type}>;
@group(0) @binding(3) var<storage, read> zeros: array<${type}>;
fn scaleOf(i: u32) -> f32 { return ${read('scales')}; }
fn zeroOf(i: u32) -> f32 { return ${read('zeros')}; }`
}

/** `withBias(y, n)`. */
export const BIAS = 'fn withBias(y: f32, n: u32) -> f32 { if (p.hasBias != 0u) { return y + bias[n]; } return y; }'

export function header(paths: ShaderVariant): string {
  return `${paths.subgroups ? 'enable subgroups;\n' : ''}${paths.half && paths.f16 ? 'enable f16;\n' : ''}${paths.dot4 ? 'requires packed_4x8_integer_dot_product;\n' : ''}`
}
