import { readHalf, writeHalf, type BlockType } from './block-type.js'

/** 256 values with one float16 scale at the end. */
const ternary = { block: 256, group: 256, min: -1, minima: false } as const

/** Five trits a byte as `ceil(v · 256 / 243)`, so that multiplying by powers of 3 shifts them out at the top. */
const RUNS = [
  { from: 0, at: 0, bytes: 32, trits: 5 },
  { from: 160, at: 32, bytes: 16, trits: 5 },
  { from: 240, at: 48, bytes: 4, trits: 4 },
] as const

const POWERS = [1, 3, 9, 27, 81] as const

export const TQ1_0: BlockType = {
  ...ternary, name: 'TQ1_0', id: 34, bytes: 54, max: 1, halves: [52],
  read(bytes, at, out) {
    for (const run of RUNS) {
      for (let j = 0; j < run.bytes; j++) {
        const value = bytes[at + run.at + j] as number
        for (let n = 0; n < run.trits; n++) out.codes[run.from + j + n * run.bytes] = ((((value * (POWERS[n] as number)) & 255) * 3) >> 8) - 1
      }
    }
    out.scales[0] = readHalf(bytes, at + 52)
  },
  write(block, bytes, at) {
    for (const run of RUNS) {
      for (let j = 0; j < run.bytes; j++) {
        let value = 0
        for (let n = 0; n < 5; n++) value = value * 3 + (n < run.trits ? (block.codes[run.from + j + n * run.bytes] as number) + 1 : 0)
        bytes[at + run.at + j] = Math.ceil((value * 256) / 243)
      }
    }
    writeHalf(bytes, at + 52, block.scales[0] as number)
  },
}

/** Two bits a value: the format holds -1 to 2. */
export const TQ2_0: BlockType = {
  ...ternary, name: 'TQ2_0', id: 35, bytes: 66, max: 2, halves: [64],
  read(bytes, at, out) {
    for (let i = 0; i < 256; i++) out.codes[i] = (((bytes[at + (i >> 7) * 32 + (i & 31)] as number) >> (((i >> 5) & 3) * 2)) & 3) - 1
    out.scales[0] = readHalf(bytes, at + 64)
  },
  write(block, bytes, at) {
    bytes.fill(0, at, at + 64)
    for (let i = 0; i < 256; i++) {
      const b = at + (i >> 7) * 32 + (i & 31)
      bytes[b] = (bytes[b] as number) | ((((block.codes[i] as number) + 1) & 3) << (((i >> 5) & 3) * 2))
    }
    writeHalf(bytes, at + 64, block.scales[0] as number)
  },
}
