import type { Codes } from '../qtensor.js'
import type { Granules } from './granules.js'

/** Scales, zero points and codes that a rounding loop fills. */
export interface RoundingTarget {
  readonly codes: Codes
  readonly scales: Float32Array
  /** Zero points in the code type's own numbers; absent where the scheme stores none. */
  readonly zeroPoints?: Int32Array
}

/**
 * ONNX Runtime's block quantizer over a whole matrix: the same numbers as `quantizeBlock` of `reference/nbits.ts`, fast.
 * @param offset subtracted from the unsigned codes and zero points, for signed types
 */
export function roundBlocks(w: Float32Array, granules: Granules, bits: number, symmetric: boolean, offset: number, target: RoundingTarget, start = 0, end = granules.count): void {
  const { codes, scales, zeroPoints } = target
  const { stride } = granules
  const top = 2 ** bits - 1
  const middle = 2 ** (bits - 1)
  for (let granule = start; granule < end; granule++) {
    const from = granules.base(granule)
    const to = from + granules.length(granule) * stride
    let low = 0
    let high = 0
    for (let i = from; i < to; i += stride) {
      const value = w[i] as number
      if (value < low) low = value
      if (value > high) high = value
    }
    let scale: number
    let zero: number
    if (symmetric) {
      scale = Math.fround((high > -low ? high : low) / -middle)
      zero = middle
    } else {
      scale = Math.fround(Math.fround(high - low) / top)
      zero = scale === 0 ? 0 : Math.min(Math.floor(Math.fround(-low / scale) + 0.5), top)
    }
    const reciprocal = scale === 0 ? 0 : Math.fround(1 / scale)
    scales[granule] = scale
    if (zeroPoints !== undefined) zeroPoints[granule] = zero - offset
    if (stride === 1 && reciprocal - reciprocal === 0) {
      roundRun(w, codes, from, to, reciprocal, zero, top, offset)
      continue
    }
    for (let i = from; i < to; i += stride) {
      // Below zero the code is clamped, so halves away from zero are halves up here.
      const code = Math.fround(Math.fround((w[i] as number) * reciprocal) + zero) + 0.5
      // NaN is 0 times the infinite reciprocal of a subnormal scale.
      codes[i] = (code < 1 ? 0 : code >= top ? top : code === code ? code | 0 : zero) - offset
    }
  }
}

/**
 * The usual granule: elements in one piece, a finite reciprocal. Its own range put the lowest element at code 0, give or take a
 * rounding that the cut towards zero absorbs: only the top needs a clamp.
 */
function roundRun(w: Float32Array, codes: Codes, from: number, to: number, reciprocal: number, zero: number, top: number, offset: number): void {
  for (let i = from; i < to; i++) {
    const code = (Math.fround(Math.fround((w[i] as number) * reciprocal) + zero) + 0.5) | 0
    codes[i] = (code > top ? top : code) - offset
  }
}
