import { decodeFloat16 } from '../numbers/float16.js'

/** float16 at a byte offset, low byte first. */
export const readHalf = (bytes: Uint8Array, at: number): number => decodeFloat16((bytes[at] as number) | ((bytes[at + 1] as number) << 8))

/** float32 product: ggml computes in float32, one rounding an operation. */
const f32 = Math.fround

/** Codes `low nibble j`, `high nibble j + 16` of 16 bytes through a table of values times d. */
export function decodeNibbles(bytes: Uint8Array, at: number, value: (code: number) => number, out: Float32Array, from = 0, count = 16): void {
  for (let j = 0; j < count; j++) {
    const byte = bytes[at + j] as number
    out[from + j] = value(byte & 15)
    out[from + j + count] = value(byte >> 4)
  }
}

export function decodeQ4_0(bytes: Uint8Array, out: Float32Array): void {
  const d = readHalf(bytes, 0)
  decodeNibbles(bytes, 2, (code) => d * (code - 8), out)
}

export function decodeQ4_1(bytes: Uint8Array, out: Float32Array): void {
  const d = readHalf(bytes, 0)
  const m = readHalf(bytes, 2)
  decodeNibbles(bytes, 4, (code) => f32(d * code) + m, out)
}

/** Fifth bits lie in a 32-bit word. */
function decodeFive(bytes: Uint8Array, high: number, codes: number, value: (code: number) => number, out: Float32Array): void {
  const word = new DataView(bytes.buffer, bytes.byteOffset + high, 4).getUint32(0, true)
  for (let j = 0; j < 16; j++) {
    const byte = bytes[codes + j] as number
    out[j] = value((byte & 15) | (((word >>> j) & 1) << 4))
    out[j + 16] = value((byte >> 4) | (((word >>> (j + 16)) & 1) << 4))
  }
}

export function decodeQ5_0(bytes: Uint8Array, out: Float32Array): void {
  const d = readHalf(bytes, 0)
  decodeFive(bytes, 2, 6, (code) => d * (code - 16), out)
}

export function decodeQ5_1(bytes: Uint8Array, out: Float32Array): void {
  const d = readHalf(bytes, 0)
  const m = readHalf(bytes, 2)
  decodeFive(bytes, 4, 8, (code) => f32(d * code) + m, out)
}

export function decodeQ8_0(bytes: Uint8Array, out: Float32Array): void {
  const d = readHalf(bytes, 0)
  for (let j = 0; j < 32; j++) out[j] = d * (((bytes[2 + j] as number) << 24) >> 24)
}

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

export function decodeTQ1_0(bytes: Uint8Array, out: Float32Array): void {
  const d = readHalf(bytes, 52)
  readTrits(bytes, out)
  for (let i = 0; i < 256; i++) out[i] = ((out[i] as number) - 1) * d
}

export function decodeTQ2_0(bytes: Uint8Array, out: Float32Array): void {
  const d = readHalf(bytes, 64)
  readPairs(bytes, out)
  for (let i = 0; i < 256; i++) out[i] = ((out[i] as number) - 1) * d
}

/** Twice the values of E2M1, by code: the halves go into the scale. */
export const E2M1_DOUBLED = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12] as const

export function decodeMxfp4(bytes: Uint8Array, out: Float32Array): void {
  const scale = 2 ** ((bytes[0] as number) - 128)
  decodeNibbles(bytes, 1, (code) => (E2M1_DOUBLED[code] ?? 0) * scale, out)
}

/** Unsigned E4M3, halved for the doubled values. */
function halvedUE4M3(code: number): number {
  if (code === 0 || code === 0x7f) return 0
  const exponent = (code >> 3) & 15
  const fraction = code & 7
  return 0.5 * (exponent === 0 ? fraction * 2 ** -9 : (1 + fraction / 8) * 2 ** (exponent - 7))
}

/** Four sub-blocks of 16, each with a UE4M3 scale. */
export function decodeNvfp4(bytes: Uint8Array, out: Float32Array): void {
  for (let s = 0; s < 4; s++) {
    const d = halvedUE4M3(bytes[s] as number)
    decodeNibbles(bytes, 4 + s * 8, (code) => (E2M1_DOUBLED[code] ?? 0) * d, out, s * 16, 8)
  }
}
