import { readHalf, readNibbles, writeHalf, writeNibbles, type BlockType } from './block-type.js'

/** The uneven grid of the IQ4 types. */
const IQ4_LEVELS = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113] as const

/** Twice the values of E2M1, by code: the halves go into the scale. */
const E2M1_DOUBLED = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12] as const

/** Codes are entries of a table, no minima. */
const tabled = { min: 0, max: 15, minima: false } as const

export const IQ4_NL: BlockType = {
  ...tabled, name: 'IQ4_NL', id: 20, block: 32, bytes: 18, group: 32, table: IQ4_LEVELS, halves: [0],
  read(bytes, at, out) {
    out.scales[0] = readHalf(bytes, at)
    readNibbles(bytes, at + 2, out.codes, 0, 16)
  },
  write(block, bytes, at) {
    writeHalf(bytes, at, block.scales[0] as number)
    writeNibbles(block.codes, 0, 16, bytes, at + 2)
  },
}

/** Eight scales of 6 bits (minus 32): low nibbles in 4 bytes, high pairs in a 16-bit word. */
export const IQ4_XS: BlockType = {
  ...tabled, name: 'IQ4_XS', id: 23, block: 256, bytes: 136, group: 32, table: IQ4_LEVELS, halves: [0, 2],
  twoLevel: { sub: [-32, 31], subMin: [0, 0] },
  read(bytes, at, out) {
    out.d = readHalf(bytes, at)
    const high = (bytes[at + 2] as number) | ((bytes[at + 3] as number) << 8)
    for (let g = 0; g < 8; g++) {
      out.sub[g] = ((((bytes[at + 4 + (g >> 1)] as number) >> ((g & 1) * 4)) & 15) | (((high >> (2 * g)) & 3) << 4)) - 32
      out.scales[g] = out.d * (out.sub[g] as number)
      readNibbles(bytes, at + 8 + g * 16, out.codes, g * 32, 16)
    }
  },
}

/** One power of two for 32 values, stored as its exponent. */
export const MXFP4: BlockType = {
  ...tabled, name: 'MXFP4', id: 39, block: 32, bytes: 17, group: 32, table: E2M1_DOUBLED, halves: [],
  read(bytes, at, out) {
    out.scales[0] = 2 ** ((bytes[at] as number) - 128)
    readNibbles(bytes, at + 1, out.codes, 0, 16)
  },
  write(block, bytes, at) {
    bytes[at] = Math.log2(block.scales[0] as number) + 128
    writeNibbles(block.codes, 0, 16, bytes, at + 1)
  },
}

/** Unsigned E4M3, halved for the doubled values. */
function halvedUE4M3(code: number): number {
  if (code === 0 || code === 0x7f) return 0
  const exponent = (code >> 3) & 15
  const fraction = code & 7
  return 0.5 * (exponent === 0 ? fraction * 2 ** -9 : (1 + fraction / 8) * 2 ** (exponent - 7))
}

/** Four groups of 16, each with an unsigned E4M3 scale. */
export const NVFP4: BlockType = {
  ...tabled, name: 'NVFP4', id: 40, block: 64, bytes: 36, group: 16, table: E2M1_DOUBLED, halves: [],
  read(bytes, at, out) {
    for (let g = 0; g < 4; g++) {
      out.scales[g] = halvedUE4M3(bytes[at + g] as number)
      readNibbles(bytes, at + 4 + g * 8, out.codes, g * 16, 8)
    }
  },
}
