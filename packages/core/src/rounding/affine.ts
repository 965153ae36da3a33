import { affineParams, blockedAffineParams, type AffineOptions } from '../reference/affine.js'
import { INTEGER_CODES, type IntegerCode } from '../scheme.js'
import type { RoundingTarget } from './block.js'
import type { Slices } from '../slices/slices.js'
import { ROUNDING_PIECE, type Granules } from './granules.js'

/** 1.5 · 2^52, see `reference/round.ts`; inlined because this loop runs once a weight. */
const SHIFT = 6755399441055744

/**
 * Affine rounding of a whole matrix by ONNX Runtime's rules: the same numbers as `quantizeAffine` of `reference/affine.ts`, fast.
 * @param blocked the rules of blocked weights (opset 21)
 */
export function roundAffine(w: Float32Array, granules: Granules, dtype: IntegerCode, options: AffineOptions, blocked: boolean, target: RoundingTarget & { readonly zeroPoints: Int32Array }, start = 0, end = granules.count): void {
  const find = blocked ? blockedAffineParams : affineParams
  for (let granule = start; granule < end; granule++) {
    const from = granules.base(granule)
    const to = from + granules.length(granule) * granules.stride
    let low = 0
    let high = 0
    for (let i = from; i < to; i += granules.stride) {
      const value = w[i] as number
      if (value < low) low = value
      if (value > high) high = value
    }
    const { scale, zeroPoint } = find(low, high, dtype, options)
    target.scales[granule] = scale
    target.zeroPoints[granule] = zeroPoint
    roundWith(w, from, to, granules.stride, dtype, scale, zeroPoint, target.codes)
  }
}

/** {@link roundAffine} of one granule that is the whole matrix, in slices. */
export function* roundAffineWhole(w: Float32Array, dtype: IntegerCode, options: AffineOptions, target: RoundingTarget & { readonly zeroPoints: Int32Array }): Slices<void> {
  let low = 0
  let high = 0
  for (let from = 0; from < w.length; from += ROUNDING_PIECE) {
    for (let i = from; i < Math.min(w.length, from + ROUNDING_PIECE); i++) {
      const value = w[i] as number
      if (value < low) low = value
      if (value > high) high = value
    }
    yield
  }
  const { scale, zeroPoint } = affineParams(low, high, dtype, options)
  target.scales[0] = scale
  target.zeroPoints[0] = zeroPoint
  for (let from = 0; from < w.length; from += ROUNDING_PIECE) {
    roundWith(w, from, Math.min(w.length, from + ROUNDING_PIECE), 1, dtype, scale, zeroPoint, target.codes)
    yield
  }
}

/** Codes of one granule under given parameters: `clamp(rint(w / scale) + zeroPoint)`; scale 0 gives the zero point. */
export function roundWith(w: Float32Array, from: number, to: number, stride: number, dtype: IntegerCode, scale: number, zeroPoint: number, codes: RoundingTarget['codes']): void {
  const { min, max } = INTEGER_CODES[dtype]
  const low = min - zeroPoint
  const high = max - zeroPoint
  for (let i = from; i < to; i += stride) {
    const exact = scale === 0 ? 0 : Math.fround((w[i] as number) / scale)
    // Clamping first keeps the sum within the doubles that have no fraction bits.
    codes[i] = ((exact < low ? low : exact > high ? high : exact) + SHIFT - SHIFT) + zeroPoint
  }
}
