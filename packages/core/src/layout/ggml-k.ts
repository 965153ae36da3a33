import { decodeNibbles, readHalf } from './ggml-decode.js'

/*
 * K-quants and IQ4: blocks of 256 with small scales for 16 or 32 values each. Only reading: ggml writes them by a search.
 * `at` below counts bytes of the block as ggml-common.h lays it out.
 */

const byte = (bytes: Uint8Array, at: number): number => bytes[at] as number

/** 16 scales and minima of 4 bits, 2-bit codes, d and dmin at the end. */
export function decodeQ2_K(bytes: Uint8Array, out: Float32Array): void {
  const d = readHalf(bytes, 80)
  const dmin = readHalf(bytes, 82)
  for (let i = 0; i < 256; i++) {
    const half = i >> 7
    const shift = ((i >> 5) & 3) * 2
    const scale = byte(bytes, i >> 4)
    const code = (byte(bytes, 16 + half * 32 + (i & 31)) >> shift) & 3
    out[i] = d * (scale & 15) * code - dmin * (scale >> 4)
  }
}

/** Third bits in a mask of 32 bytes, 2-bit codes, 16 scales of 6 bits, d at the end. */
export function decodeQ3_K(bytes: Uint8Array, out: Float32Array): void {
  const d = readHalf(bytes, 108)
  for (let i = 0; i < 256; i++) {
    const half = i >> 7
    const run = i >> 5
    const group = i >> 4
    const low = group < 8 ? byte(bytes, 96 + group) & 15 : byte(bytes, 96 + group - 8) >> 4
    const high = (byte(bytes, 104 + (group & 3)) >> (2 * (group >> 2))) & 3
    const code = (byte(bytes, 32 + half * 32 + (i & 31)) >> ((run & 3) * 2)) & 3
    const third = (byte(bytes, i & 31) >> run) & 1
    out[i] = d * ((low | (high << 4)) - 32) * (code - (third === 1 ? 0 : 4))
  }
}

/** Scale and minimum of 6 bits each, 8 of them in 12 bytes: Q4_K and Q5_K. */
function sixBits(bytes: Uint8Array, at: number, j: number): { readonly scale: number; readonly min: number } {
  if (j < 4) return { scale: byte(bytes, at + j) & 63, min: byte(bytes, at + j + 4) & 63 }
  return {
    scale: (byte(bytes, at + j + 4) & 15) | ((byte(bytes, at + j - 4) >> 6) << 4),
    min: (byte(bytes, at + j + 4) >> 4) | ((byte(bytes, at + j) >> 6) << 4),
  }
}

export function decodeQ4_K(bytes: Uint8Array, out: Float32Array): void {
  const d = readHalf(bytes, 0)
  const dmin = readHalf(bytes, 2)
  for (let run = 0; run < 8; run++) {
    const { scale, min } = sixBits(bytes, 4, run)
    for (let l = 0; l < 32; l++) {
      const code = (byte(bytes, 16 + (run >> 1) * 32 + l) >> ((run & 1) * 4)) & 15
      out[run * 32 + l] = d * scale * code - dmin * min
    }
  }
}

export function decodeQ5_K(bytes: Uint8Array, out: Float32Array): void {
  const d = readHalf(bytes, 0)
  const dmin = readHalf(bytes, 2)
  for (let run = 0; run < 8; run++) {
    const { scale, min } = sixBits(bytes, 4, run)
    for (let l = 0; l < 32; l++) {
      const code = ((byte(bytes, 48 + (run >> 1) * 32 + l) >> ((run & 1) * 4)) & 15) | (((byte(bytes, 16 + l) >> run) & 1) << 4)
      out[run * 32 + l] = d * scale * code - dmin * min
    }
  }
}

/** Low nibbles, high pairs, 16 signed scales of 8 bits, d at the end. */
export function decodeQ6_K(bytes: Uint8Array, out: Float32Array): void {
  const d = readHalf(bytes, 208)
  for (let i = 0; i < 256; i++) {
    const half = i >> 7
    const quarter = (i >> 5) & 3
    const l = i & 31
    const low = (byte(bytes, half * 64 + (quarter & 1) * 32 + l) >> ((quarter >> 1) * 4)) & 15
    const high = (byte(bytes, 128 + half * 32 + l) >> (quarter * 2)) & 3
    const scale = (byte(bytes, 192 + (i >> 4)) << 24) >> 24
    out[i] = d * scale * ((low | (high << 4)) - 32)
  }
}

/** The uneven grid of the IQ4 types. */
const IQ4_VALUES = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113] as const

export function decodeIQ4_NL(bytes: Uint8Array, out: Float32Array): void {
  const d = readHalf(bytes, 0)
  decodeNibbles(bytes, 2, (code) => d * (IQ4_VALUES[code] ?? 0), out)
}

/** Eight scales of 6 bits: low nibbles in 4 bytes, high pairs in a 16-bit word. */
export function decodeIQ4_XS(bytes: Uint8Array, out: Float32Array): void {
  const d = readHalf(bytes, 0)
  const high = byte(bytes, 2) | (byte(bytes, 3) << 8)
  for (let run = 0; run < 8; run++) {
    const scale = ((byte(bytes, 4 + (run >> 1)) >> ((run & 1) * 4)) & 15) | (((high >> (2 * run)) & 3) << 4)
    decodeNibbles(bytes, 8 + run * 16, (code) => d * (scale - 32) * (IQ4_VALUES[code] ?? 0), out, run * 32)
  }
}
