import { readHalf, readNibbles, writeHalf, writeNibbles, type BlockType } from './block-type.js'

/** 32 values with one float16 scale. */
const symmetric = { block: 32, group: 32, minima: false, halves: [0] } as const
/** 32 values with a scale and a minimum in float16. */
const offset = { block: 32, group: 32, minima: true, halves: [0, 2] } as const

export const Q4_0: BlockType = {
  name: 'Q4_0', id: 2, bytes: 18, min: -8, max: 7, ...symmetric,
  read(bytes, at, out) {
    out.scales[0] = readHalf(bytes, at)
    readNibbles(bytes, at + 2, out.codes, 0, 16, 8)
  },
  write(block, bytes, at) {
    writeHalf(bytes, at, block.scales[0] as number)
    writeNibbles(block.codes, 0, 16, bytes, at + 2, 8)
  },
}

export const Q4_1: BlockType = {
  name: 'Q4_1', id: 3, bytes: 20, min: 0, max: 15, ...offset,
  read(bytes, at, out) {
    out.scales[0] = readHalf(bytes, at)
    out.minima[0] = readHalf(bytes, at + 2)
    readNibbles(bytes, at + 4, out.codes, 0, 16)
  },
  write(block, bytes, at) {
    writeHalf(bytes, at, block.scales[0] as number)
    writeHalf(bytes, at + 2, block.minima[0] as number)
    writeNibbles(block.codes, 0, 16, bytes, at + 4)
  },
}

/** Fifth bits: bit j of four bytes belongs to code j. */
function readFive(bytes: Uint8Array, high: number, low: number, codes: Int8Array, middle: number): void {
  readNibbles(bytes, low, codes, 0, 16)
  for (let j = 0; j < 32; j++) codes[j] = (codes[j] as number) + ((((bytes[high + (j >> 3)] as number) >> (j & 7)) & 1) << 4) - middle
}

function writeFive(codes: Int8Array, bytes: Uint8Array, high: number, low: number, middle: number): void {
  bytes.fill(0, high, high + 4)
  for (let j = 0; j < 32; j++) bytes[high + (j >> 3)] = (bytes[high + (j >> 3)] as number) | (((((codes[j] as number) + middle) >> 4) & 1) << (j & 7))
  writeNibbles(codes, 0, 16, bytes, low, middle)
}

export const Q5_0: BlockType = {
  name: 'Q5_0', id: 6, bytes: 22, min: -16, max: 15, ...symmetric,
  // ggml copies the fifth bits as one 32-bit word of the machine's own order.
  halves: undefined,
  read(bytes, at, out) {
    out.scales[0] = readHalf(bytes, at)
    readFive(bytes, at + 2, at + 6, out.codes, 16)
  },
  write(block, bytes, at) {
    writeHalf(bytes, at, block.scales[0] as number)
    writeFive(block.codes, bytes, at + 2, at + 6, 16)
  },
}

export const Q5_1: BlockType = {
  name: 'Q5_1', id: 7, bytes: 24, min: 0, max: 31, ...offset,
  halves: undefined,
  read(bytes, at, out) {
    out.scales[0] = readHalf(bytes, at)
    out.minima[0] = readHalf(bytes, at + 2)
    readFive(bytes, at + 4, at + 8, out.codes, 0)
  },
  write(block, bytes, at) {
    writeHalf(bytes, at, block.scales[0] as number)
    writeHalf(bytes, at + 2, block.minima[0] as number)
    writeFive(block.codes, bytes, at + 4, at + 8, 0)
  },
}

function readSigned(bytes: Uint8Array, at: number, codes: Int8Array, count: number): void {
  for (let j = 0; j < count; j++) codes[j] = bytes[at + j] as number
}

export const Q8_0: BlockType = {
  name: 'Q8_0', id: 8, bytes: 34, min: -128, max: 127, ...symmetric,
  read(bytes, at, out) {
    out.scales[0] = readHalf(bytes, at)
    readSigned(bytes, at + 2, out.codes, 32)
  },
  write(block, bytes, at) {
    writeHalf(bytes, at, block.scales[0] as number)
    for (let j = 0; j < 32; j++) bytes[at + 2 + j] = block.codes[j] as number
  },
}

/** Q8_0 with the sum of the block beside the scale: activations of ggml, not seen in files. */
export const Q8_1: BlockType = {
  name: 'Q8_1', id: 9, bytes: 36, min: -128, max: 127, ...symmetric,
  halves: [0, 2],
  read(bytes, at, out) {
    out.scales[0] = readHalf(bytes, at)
    readSigned(bytes, at + 4, out.codes, 32)
  },
}

/** 256 values with a float32 scale, then sums of 16: activations of ggml, not seen in files. */
export const Q8_K: BlockType = {
  name: 'Q8_K', id: 15, block: 256, bytes: 292, group: 256, min: -128, max: 127, minima: false, halves: undefined,
  read(bytes, at, out) {
    out.scales[0] = new DataView(bytes.buffer, bytes.byteOffset + at, 4).getFloat32(0, true)
    readSigned(bytes, at + 4, out.codes, 256)
  },
}

/** One bit a value: `d` or `-d`, as codes 1 and -1. */
export const Q1_0: BlockType = {
  name: 'Q1_0', id: 41, block: 128, bytes: 18, group: 128, min: -1, max: 1, minima: false, halves: [0],
  read(bytes, at, out) {
    out.scales[0] = readHalf(bytes, at)
    for (let j = 0; j < 128; j++) out.codes[j] = (((bytes[at + 2 + (j >> 3)] as number) >> (j & 7)) & 1) * 2 - 1
  },
}

/** Two bits a value, -1 to 2. Type 42 is written with blocks of 64 and of 128. */
function q2_0(block: 64 | 128): BlockType {
  return {
    name: 'Q2_0', id: 42, block, bytes: 2 + block / 4, group: block, min: -1, max: 2, minima: false, halves: [0],
    read(bytes, at, out) {
      out.scales[0] = readHalf(bytes, at)
      for (let j = 0; j < block; j++) out.codes[j] = (((bytes[at + 2 + (j >> 2)] as number) >> (2 * (j & 3))) & 3) - 1
    },
  }
}

export const Q2_0: BlockType = q2_0(64)
/** The same type number with blocks of 128: only the number of bytes tells. */
export const Q2_0_128: BlockType = q2_0(128)
