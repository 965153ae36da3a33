import { decodeFloat16 } from '@lowbit/core'

/** Blocks in 16-bit words to four codes a word of 32 bits: the same codes as `BlockType.read`, for the types of most bytes in files. */
type ReadWords = (words: Uint16Array, count: number, codes: Int32Array, scales: Float32Array, minima: Float32Array) => void

/** The low nibble of each byte. */
const LOW = 0x0f0f0f0f

/** Nibbles less 8 in each byte: with the top bit set nothing is borrowed from the next byte. */
const centred = (nibbles: number): number => ((nibbles | 0x80808080) - 0x08080808) ^ 0x80808080

export const WORDWISE: Readonly<Record<string, ReadWords>> = {
  Q4_0(words, count, codes, scales) {
    for (let b = 0, at = 0, to = 0; b < count; b++, to += 8) {
      scales[b] = decodeFloat16(words[at++] as number)
      for (let j = to; j < to + 4; j++, at += 2) {
        const w = (words[at] as number) | ((words[at + 1] as number) << 16)
        codes[j] = centred(w & LOW)
        codes[j + 4] = centred((w >>> 4) & LOW)
      }
    }
  },
  Q4_1(words, count, codes, scales, minima) {
    for (let b = 0, at = 0, to = 0; b < count; b++, to += 8) {
      scales[b] = decodeFloat16(words[at++] as number)
      minima[b] = decodeFloat16(words[at++] as number)
      for (let j = to; j < to + 4; j++, at += 2) {
        const w = (words[at] as number) | ((words[at + 1] as number) << 16)
        codes[j] = w & LOW
        codes[j + 4] = (w >>> 4) & LOW
      }
    }
  },
  Q8_0(words, count, codes, scales) {
    for (let b = 0, at = 0, to = 0; b < count; b++) {
      scales[b] = decodeFloat16(words[at++] as number)
      for (const end = to + 8; to < end; to++, at += 2) codes[to] = (words[at] as number) | ((words[at + 1] as number) << 16)
    }
  },
}
