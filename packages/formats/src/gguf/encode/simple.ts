import { roundHalfAway } from '@lowbit/core'
import type { BlockBuffer } from '../blocks/block-type.js'

/*
 * ggml's reference quantizers of the types that need no search (quantize_row_*_ref), bit for bit: float32, one rounding an operation,
 * codes from the scale before it is rounded to float16.
 */

const f32 = Math.fround

/** One block of values to its meaning. */
export type EncodeBlock = (x: Float32Array, out: BlockBuffer) => void

/** The first of the values with the largest magnitude, sign kept. */
export function signedExtreme(x: Float32Array): number {
  let extreme = 0
  for (const value of x) if (Math.abs(value) > Math.abs(extreme)) extreme = value
  return extreme
}

const reciprocal = (d: number): number => (d === 0 ? 0 : f32(1 / d))

/** Codes around 0: `trunc(x / d + middle + 0.5) - middle`, the signed extreme on `-middle`. */
const symmetric = (middle: number): EncodeBlock => (x, out) => {
  const d = f32(signedExtreme(x) / -middle)
  const inverse = reciprocal(d)
  out.scales[0] = d
  for (let i = 0; i < x.length; i++) out.codes[i] = Math.min(Math.trunc(f32(f32((x[i] as number) * inverse) + (middle + 0.5))), 2 * middle - 1) - middle
}

/** Codes from the smallest value on: `trunc((x - m) / d + 0.5)`. */
const offset = (top: number): EncodeBlock => (x, out) => {
  let least = Infinity
  let most = -Infinity
  for (const value of x) {
    if (value < least) least = value
    if (value > most) most = value
  }
  const d = f32(f32(most - least) / top)
  const inverse = reciprocal(d)
  out.scales[0] = d
  out.minima[0] = least
  for (let i = 0; i < x.length; i++) out.codes[i] = Math.min(Math.trunc(f32(f32(f32((x[i] as number) - least) * inverse) + 0.5)), top)
}

/** Half away from zero, the extreme on `top`. */
const centred = (top: number): EncodeBlock => (x, out) => {
  const d = f32(Math.abs(signedExtreme(x)) / top)
  const inverse = reciprocal(d)
  out.scales[0] = d
  for (let i = 0; i < x.length; i++) out.codes[i] = roundHalfAway(f32((x[i] as number) * inverse))
}

export const encodeQ4_0 = symmetric(8)
export const encodeQ4_1 = offset(15)
export const encodeQ5_0 = symmetric(16)
export const encodeQ5_1 = offset(31)
export const encodeQ8_0 = centred(127)
export const encodeTernary = centred(1)
