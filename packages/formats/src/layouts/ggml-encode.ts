import { encodeFloat16 } from '@lowbit/core'
import { TRIT_RUNS } from './ggml-decode.js'

/** Writes float16 at a byte offset, low byte first. */
export function writeHalf(out: Uint8Array, at: number, value: number): void {
  const bits = encodeFloat16(value)
  out[at] = bits & 255
  out[at + 1] = bits >> 8
}

/** Code j in the low nibble of byte j, code j + 16 in the high one. */
export function writeNibbles(codes: ArrayLike<number>, out: Uint8Array, at: number): void {
  for (let j = 0; j < 16; j++) out[at + j] = ((codes[j] as number) & 15) | (((codes[j + 16] as number) & 15) << 4)
}

/** Trits 0, 1, 2 as a TQ1_0 block without its scale. */
export function writeTrits(levels: ArrayLike<number>, out: Uint8Array): void {
  for (const run of TRIT_RUNS) {
    for (let j = 0; j < run.bytes; j++) {
      let value = 0
      for (let n = 0; n < 5; n++) value = value * 3 + (n < run.trits ? (levels[run.from + j + n * run.bytes] as number) : 0)
      out[run.at + j] = Math.ceil((value * 256) / 243)
    }
  }
}

/** Two-bit codes as a TQ2_0 block without its scale. */
export function writePairs(levels: ArrayLike<number>, out: Uint8Array): void {
  for (let j = 0; j < 64; j++) {
    const first = (j >> 5) * 128 + (j & 31)
    let value = 0
    for (let n = 0; n < 4; n++) value |= (levels[first + n * 32] as number) << (2 * n)
    out[j] = value
  }
}
