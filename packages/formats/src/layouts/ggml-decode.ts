import { decodeFloat16 } from '@lowbit/core'

/** float16 at a byte offset, low byte first. */
export const readHalf = (bytes: Uint8Array, at: number): number => decodeFloat16((bytes[at] as number) | ((bytes[at + 1] as number) << 8))

/** Five trits a byte as `ceil(v · 256 / 243)`, so that multiplying by powers of 3 shifts them out at the top. */
export const TRIT_RUNS = [
  { from: 0, at: 0, bytes: 32, trits: 5 },
  { from: 160, at: 32, bytes: 16, trits: 5 },
  { from: 240, at: 48, bytes: 4, trits: 4 },
] as const

/** Trits 0, 1, 2 of a TQ1_0 block. */
export function readTrits(bytes: Uint8Array, levels: { [index: number]: number }): void {
  for (const run of TRIT_RUNS) {
    for (let j = 0; j < run.bytes; j++) {
      for (let n = 0; n < run.trits; n++) levels[run.from + j + n * run.bytes] = ((((bytes[run.at + j] as number) * 3 ** n) & 255) * 3) >> 8
    }
  }
}

/** Two-bit codes of a TQ2_0 block. */
export function readPairs(bytes: Uint8Array, levels: { [index: number]: number }): void {
  for (let j = 0; j < 64; j++) {
    const first = (j >> 5) * 128 + (j & 31)
    for (let n = 0; n < 4; n++) levels[first + n * 32] = ((bytes[j] as number) >> (2 * n)) & 3
  }
}
