import { encodeFloat16 } from '../numbers/float16.js'
import { exponentOf } from '../numbers/small-float.js'
import { roundHalfAway } from '../reference/round.js'
import { E2M1_DOUBLED, TRIT_RUNS } from './ggml-decode.js'

const f32 = Math.fround

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

/** The first of the values with the largest magnitude, sign kept. */
function signedExtreme(x: Float32Array): number {
  let extreme = 0
  for (const value of x) if (Math.abs(value) > Math.abs(extreme)) extreme = value
  return extreme
}

const reciprocal = (d: number): number => (d === 0 ? 0 : f32(1 / d))

/** Symmetric codes around `middle`: `trunc(x / d + middle + 0.5)`, the signed extreme on code 0. The codes come from the unrounded scale. */
function symmetricCodes(x: Float32Array, middle: number): { readonly d: number; readonly codes: Uint8Array } {
  const d = f32(signedExtreme(x) / -middle)
  const inverse = reciprocal(d)
  return { d, codes: Uint8Array.from(x, (value) => Math.min(Math.trunc(f32(f32(value * inverse) + (middle + 0.5))), 2 * middle - 1)) }
}

/** Codes from the smallest value on: `trunc((x - m) / d + 0.5)`. */
function offsetCodes(x: Float32Array, top: number): { readonly d: number; readonly m: number; readonly codes: Uint8Array } {
  const m = x.reduce((a, b) => Math.min(a, b), Infinity)
  const d = f32(f32(x.reduce((a, b) => Math.max(a, b), -Infinity) - m) / top)
  const inverse = reciprocal(d)
  return { d, m, codes: Uint8Array.from(x, (value) => Math.min(Math.trunc(f32(f32(f32(value - m) * inverse) + 0.5)), top)) }
}

export function encodeQ4_0(x: Float32Array, out: Uint8Array): void {
  const { d, codes } = symmetricCodes(x, 8)
  writeHalf(out, 0, d)
  writeNibbles(codes, out, 2)
}

export function encodeQ4_1(x: Float32Array, out: Uint8Array): void {
  const { d, m, codes } = offsetCodes(x, 15)
  writeHalf(out, 0, d)
  writeHalf(out, 2, m)
  writeNibbles(codes, out, 4)
}

/** Fifth bits, in a 32-bit word. */
function writeFifths(codes: Uint8Array, out: Uint8Array, at: number): void {
  let word = 0
  codes.forEach((code, j) => { word |= (code >> 4) << j })
  new DataView(out.buffer, out.byteOffset + at, 4).setUint32(0, word >>> 0, true)
}

export function encodeQ5_0(x: Float32Array, out: Uint8Array): void {
  const { d, codes } = symmetricCodes(x, 16)
  writeHalf(out, 0, d)
  writeFifths(codes, out, 2)
  writeNibbles(codes, out, 6)
}

export function encodeQ5_1(x: Float32Array, out: Uint8Array): void {
  const { d, m, codes } = offsetCodes(x, 31)
  writeHalf(out, 0, d)
  writeHalf(out, 2, m)
  writeFifths(codes, out, 4)
  writeNibbles(codes, out, 8)
}

export function encodeQ8_0(x: Float32Array, out: Uint8Array): void {
  const d = f32(Math.abs(signedExtreme(x)) / 127)
  const inverse = reciprocal(d)
  writeHalf(out, 0, d)
  x.forEach((value, j) => { out[2 + j] = roundHalfAway(f32(value * inverse)) })
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

function ternaryLevels(x: Float32Array): { readonly d: number; readonly levels: Uint8Array } {
  const d = Math.abs(signedExtreme(x))
  const inverse = reciprocal(d)
  return { d, levels: Uint8Array.from(x, (value) => roundHalfAway(f32(value * inverse)) + 1) }
}

export function encodeTQ1_0(x: Float32Array, out: Uint8Array): void {
  const { d, levels } = ternaryLevels(x)
  writeTrits(levels, out)
  writeHalf(out, 52, d)
}

export function encodeTQ2_0(x: Float32Array, out: Uint8Array): void {
  const { d, levels } = ternaryLevels(x)
  writePairs(levels, out)
  writeHalf(out, 64, d)
}

/** ggml's MXFP4, unlike MX and ml_dtypes: a tie goes to the smaller magnitude, and -0 is never written. */
export function encodeMxfp4(x: Float32Array, out: Uint8Array): void {
  const top = Math.abs(signedExtreme(x))
  const e = top === 0 ? 0 : Math.max(exponentOf(top) - 2 + 127, 0)
  const scale = 2 ** (e - 128)
  out[0] = e
  const codes = Array.from(x, (value) => {
    const magnitude = Math.abs(value)
    let best = 0
    for (let code = 1; code < 8; code++) if (Math.abs((E2M1_DOUBLED[code] ?? 0) * scale - magnitude) < Math.abs((E2M1_DOUBLED[best] ?? 0) * scale - magnitude)) best = code
    return value < 0 && best > 0 ? best | 8 : best
  })
  writeNibbles(codes, out, 1)
}
