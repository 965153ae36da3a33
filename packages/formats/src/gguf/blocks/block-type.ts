import { decodeFloat16, encodeFloat16 } from '@lowbit/core'

/** Longest block of ggml. */
export const LONGEST_BLOCK = 256
const MOST_GROUPS = 16

/**
 * One block of any type, in words: what its bytes say. Reused from block to block.
 * `value = f32(f32(scales[g] · level) + minima[g])`, level the code or the entry of the type's table.
 */
export class BlockBuffer {
  /** Signed levels, or indices into the table. */
  readonly codes = new Int8Array(LONGEST_BLOCK)
  /** One a group. Two-level types: `d · sub`. */
  readonly scales = new Float32Array(MOST_GROUPS)
  /** One a group. Two-level types: `-dmin · subMin`. */
  readonly minima = new Float32Array(MOST_GROUPS)
  /** Two-level types only. */
  d = 0
  dmin = 0
  readonly sub = new Int8Array(MOST_GROUPS)
  readonly subMin = new Uint8Array(MOST_GROUPS)
}

/** How a block of ggml lies in bytes (ggml-common.h), both ways between bytes and meaning. Offsets are in bytes of the block. */
export interface BlockType {
  /** As in ggml: `Q4_K`. */
  readonly name: string
  /** Number in a GGUF file. */
  readonly id: number
  /** Values a block. */
  readonly block: number
  /** Bytes a block. */
  readonly bytes: number
  /** Values that share one scale. */
  readonly group: number
  /** Codes the type can hold. */
  readonly min: number
  readonly max: number
  /** Levels by code, where they are not the codes themselves. */
  readonly table?: readonly number[]
  /** Each group has something added. */
  readonly minima: boolean
  /** Scales are small integers times `d`; the ranges of these integers. */
  readonly twoLevel?: { readonly sub: readonly [number, number]; readonly subMin: readonly [number, number] }
  /** Offsets of 16-bit numbers, whose bytes a big-endian file swaps; undefined: the bytes of such a file are not defined. */
  readonly halves: readonly number[] | undefined
  read(bytes: Uint8Array, at: number, out: BlockBuffer): void
  /** Overwrites all bytes of the block. Two-level types: from `codes`, `d`, `dmin`, `sub`, `subMin`; others: from `codes`, `scales`, `minima`. Absent: the type is only read. */
  readonly write?: (block: BlockBuffer, bytes: Uint8Array, at: number) => void
}

/** float16 at a byte offset, low byte first. */
export const readHalf = (bytes: Uint8Array, at: number): number => decodeFloat16((bytes[at] as number) | ((bytes[at + 1] as number) << 8))

/** Writes float16 at a byte offset, low byte first. */
export function writeHalf(bytes: Uint8Array, at: number, value: number): void {
  const bits = encodeFloat16(value)
  bytes[at] = bits & 255
  bytes[at + 1] = bits >> 8
}

/** Scales and minima of a two-level block from its parts. */
export function combineLevels(out: BlockBuffer, groups: number): void {
  for (let g = 0; g < groups; g++) {
    out.scales[g] = out.d * (out.sub[g] as number)
    out.minima[g] = -(out.dmin * (out.subMin[g] as number))
  }
}

/** Code j in the low nibble of byte j, code j + count in the high one, each minus `middle`. */
export function readNibbles(bytes: Uint8Array, at: number, codes: Int8Array, from: number, count: number, middle = 0): void {
  for (let j = 0; j < count; j++) {
    const byte = bytes[at + j] as number
    codes[from + j] = (byte & 15) - middle
    codes[from + j + count] = (byte >> 4) - middle
  }
}

export function writeNibbles(codes: Int8Array, from: number, count: number, bytes: Uint8Array, at: number, middle = 0): void {
  for (let j = 0; j < count; j++) bytes[at + j] = (((codes[from + j] as number) + middle) & 15) | ((((codes[from + j + count] as number) + middle) & 15) << 4)
}
