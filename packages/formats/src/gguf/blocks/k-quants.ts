import { combineLevels, readHalf, writeHalf, type BlockBuffer, type BlockType } from './block-type.js'

/** 256 values in groups whose scales are small integers times `d`, and their minima small integers times `dmin`. */
const superBlock = { block: 256 } as const

const byte = (bytes: Uint8Array, at: number): number => bytes[at] as number

/** 16 nibbles of scale and minimum, 2-bit codes, d, dmin. */
export const Q2_K: BlockType = {
  ...superBlock, name: 'Q2_K', id: 10, bytes: 84, group: 16, min: 0, max: 3, minima: true, halves: [80, 82],
  twoLevel: { sub: [0, 15], subMin: [0, 15] },
  read(bytes, at, out) {
    for (let g = 0; g < 16; g++) {
      out.sub[g] = byte(bytes, at + g) & 15
      out.subMin[g] = byte(bytes, at + g) >> 4
    }
    readPairs(bytes, at + 16, out.codes)
    out.d = readHalf(bytes, at + 80)
    out.dmin = readHalf(bytes, at + 82)
    combineLevels(out, 16)
  },
  write(block, bytes, at) {
    for (let g = 0; g < 16; g++) bytes[at + g] = (block.sub[g] as number) | ((block.subMin[g] as number) << 4)
    writePairs(block.codes, bytes, at + 16, 0)
    writeHalf(bytes, at + 80, block.d)
    writeHalf(bytes, at + 82, block.dmin)
  },
}

/** Codes 128 a half: value l of run r (32 values) in bits 2r of byte l. */
function readPairs(bytes: Uint8Array, at: number, codes: Int8Array): void {
  for (let i = 0; i < 256; i++) codes[i] = (byte(bytes, at + (i >> 7) * 32 + (i & 31)) >> (((i >> 5) & 3) * 2)) & 3
}

function writePairs(codes: Int8Array, bytes: Uint8Array, at: number, middle: number): void {
  bytes.fill(0, at, at + 64)
  for (let i = 0; i < 256; i++) {
    const b = at + (i >> 7) * 32 + (i & 31)
    bytes[b] = byte(bytes, b) | ((((codes[i] as number) + middle) & 3) << (((i >> 5) & 3) * 2))
  }
}

/** Third bits, 2-bit codes, 16 scales of 6 bits (minus 32), d. */
export const Q3_K: BlockType = {
  ...superBlock, name: 'Q3_K', id: 11, bytes: 110, group: 16, min: -4, max: 3, minima: false, halves: [108],
  twoLevel: { sub: [-32, 31], subMin: [0, 0] },
  read(bytes, at, out) {
    readPairs(bytes, at + 32, out.codes)
    for (let i = 0; i < 256; i++) out.codes[i] = (out.codes[i] as number) - ((((byte(bytes, at + (i & 31)) >> (i >> 5)) & 1) ^ 1) << 2)
    for (let g = 0; g < 16; g++) {
      const low = (byte(bytes, at + 96 + (g & 7)) >> (g < 8 ? 0 : 4)) & 15
      const high = (byte(bytes, at + 104 + (g & 3)) >> (2 * (g >> 2))) & 3
      out.sub[g] = (low | (high << 4)) - 32
    }
    out.d = readHalf(bytes, at + 108)
    out.dmin = 0
    combineLevels(out, 16)
  },
  write(block, bytes, at) {
    bytes.fill(0, at, at + 110)
    for (let i = 0; i < 256; i++) {
      const third = ((block.codes[i] as number) + 4) >> 2
      bytes[at + (i & 31)] = byte(bytes, at + (i & 31)) | (third << (i >> 5))
    }
    writePairs(block.codes, bytes, at + 32, 4)
    for (let g = 0; g < 16; g++) {
      const scale = (block.sub[g] as number) + 32
      bytes[at + 96 + (g & 7)] = byte(bytes, at + 96 + (g & 7)) | ((scale & 15) << (g < 8 ? 0 : 4))
      bytes[at + 104 + (g & 3)] = byte(bytes, at + 104 + (g & 3)) | ((scale >> 4) << (2 * (g >> 2)))
    }
    writeHalf(bytes, at + 108, block.d)
  },
}

/** Scales and minima of Q4_K and Q5_K: 8 of 6 bits each in 12 bytes, the top pairs of the last four in the first eight bytes. */
function readSixBits(bytes: Uint8Array, at: number, out: BlockBuffer): void {
  for (let g = 0; g < 4; g++) {
    const [a, b, c] = [byte(bytes, at + g), byte(bytes, at + g + 4), byte(bytes, at + g + 8)]
    out.sub[g] = a & 63
    out.subMin[g] = b & 63
    out.sub[g + 4] = (c & 15) | ((a >> 6) << 4)
    out.subMin[g + 4] = (c >> 4) | ((b >> 6) << 4)
  }
}

function writeSixBits(block: BlockBuffer, bytes: Uint8Array, at: number): void {
  for (let g = 0; g < 4; g++) {
    const [scale, min] = [block.sub[g + 4] as number, block.subMin[g + 4] as number]
    bytes[at + g] = (block.sub[g] as number) | ((scale >> 4) << 6)
    bytes[at + g + 4] = (block.subMin[g] as number) | ((min >> 4) << 6)
    bytes[at + g + 8] = (scale & 15) | ((min & 15) << 4)
  }
}

/** Runs of 32: an even run in low nibbles, the odd one after it in the high nibbles of the same bytes. */
function readRuns(bytes: Uint8Array, at: number, codes: Int8Array): void {
  for (let i = 0; i < 256; i++) codes[i] = (byte(bytes, at + (i >> 6) * 32 + (i & 31)) >> (((i >> 5) & 1) * 4)) & 15
}

function writeRuns(codes: Int8Array, bytes: Uint8Array, at: number): void {
  for (let i = 0; i < 256; i += 64) {
    for (let l = 0; l < 32; l++) bytes[at + i / 2 + l] = ((codes[i + l] as number) & 15) | (((codes[i + l + 32] as number) & 15) << 4)
  }
}

const sixBits = { group: 32, minima: true, halves: [0, 2], twoLevel: { sub: [0, 63], subMin: [0, 63] } } as const

function readHead(bytes: Uint8Array, at: number, out: BlockBuffer): void {
  out.d = readHalf(bytes, at)
  out.dmin = readHalf(bytes, at + 2)
  readSixBits(bytes, at + 4, out)
  combineLevels(out, 8)
}

function writeHead(block: BlockBuffer, bytes: Uint8Array, at: number): void {
  writeHalf(bytes, at, block.d)
  writeHalf(bytes, at + 2, block.dmin)
  writeSixBits(block, bytes, at + 4)
}

/** d, dmin, 6-bit scales and minima, nibbles. */
export const Q4_K: BlockType = {
  ...superBlock, ...sixBits, name: 'Q4_K', id: 12, bytes: 144, min: 0, max: 15,
  read(bytes, at, out) {
    readHead(bytes, at, out)
    readRuns(bytes, at + 16, out.codes)
  },
  write(block, bytes, at) {
    writeHead(block, bytes, at)
    writeRuns(block.codes, bytes, at + 16)
  },
}

/** As Q4_K, with the fifth bit of value l of run r in bit r of byte l. */
export const Q5_K: BlockType = {
  ...superBlock, ...sixBits, name: 'Q5_K', id: 13, bytes: 176, min: 0, max: 31,
  read(bytes, at, out) {
    readHead(bytes, at, out)
    readRuns(bytes, at + 48, out.codes)
    for (let i = 0; i < 256; i++) out.codes[i] = (out.codes[i] as number) | (((byte(bytes, at + 16 + (i & 31)) >> (i >> 5)) & 1) << 4)
  },
  write(block, bytes, at) {
    writeHead(block, bytes, at)
    bytes.fill(0, at + 16, at + 48)
    for (let i = 0; i < 256; i++) bytes[at + 16 + (i & 31)] = byte(bytes, at + 16 + (i & 31)) | ((((block.codes[i] as number) >> 4) & 1) << (i >> 5))
    writeRuns(block.codes, bytes, at + 48)
  },
}

/** Low nibbles, high pairs, 16 signed scales, d. */
export const Q6_K: BlockType = {
  ...superBlock, name: 'Q6_K', id: 14, bytes: 210, group: 16, min: -32, max: 31, minima: false, halves: [208],
  twoLevel: { sub: [-128, 127], subMin: [0, 0] },
  read(bytes, at, out) {
    for (let i = 0; i < 256; i++) {
      const half = i >> 7
      const quarter = (i >> 5) & 3
      const low = (byte(bytes, at + half * 64 + (quarter & 1) * 32 + (i & 31)) >> ((quarter >> 1) * 4)) & 15
      const high = (byte(bytes, at + 128 + half * 32 + (i & 31)) >> (quarter * 2)) & 3
      out.codes[i] = (low | (high << 4)) - 32
    }
    for (let g = 0; g < 16; g++) out.sub[g] = byte(bytes, at + 192 + g)
    out.d = readHalf(bytes, at + 208)
    out.dmin = 0
    combineLevels(out, 16)
  },
  write(block, bytes, at) {
    bytes.fill(0, at, at + 192)
    for (let i = 0; i < 256; i++) {
      const half = i >> 7
      const quarter = (i >> 5) & 3
      const code = (block.codes[i] as number) + 32
      const low = at + half * 64 + (quarter & 1) * 32 + (i & 31)
      const high = at + 128 + half * 32 + (i & 31)
      bytes[low] = byte(bytes, low) | ((code & 15) << ((quarter >> 1) * 4))
      bytes[high] = byte(bytes, high) | ((code >> 4) << (quarter * 2))
    }
    for (let g = 0; g < 16; g++) bytes[at + 192 + g] = block.sub[g] as number
    writeHalf(bytes, at + 208, block.d)
  },
}
