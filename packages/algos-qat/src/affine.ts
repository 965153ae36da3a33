import type { Ops } from '@lowbit/core'
import { clampTo, insideOf, type CodeRange } from './scale-rule.js'

/** Scale and zero point, broadcastable against what they quantize. */
export interface AffineParams<T> {
  readonly scale: T
  /** Absent: 0. */
  readonly zeroPoint?: T
}

/** `clamp(rint(x · (1/s)) + zp)`: a product with the reciprocal, and the zero point added after rounding, in float32 throughout. */
export function affineCodes<T>(ops: Ops<T>, x: T, { scale, zeroPoint }: AffineParams<T>, range: CodeRange): { readonly codes: T; readonly unclamped: T } {
  const rounded = ops.rint(ops.mul(x, ops.div(ops.constant(1), scale)))
  const unclamped = zeroPoint === undefined ? rounded : ops.add(rounded, zeroPoint)
  return { codes: clampTo(ops, unclamped, range), unclamped }
}

/** `(q - zp) · s`. */
export function affineValues<T>(ops: Ops<T>, codes: T, { scale, zeroPoint }: AffineParams<T>): T {
  return ops.mul(zeroPoint === undefined ? codes : ops.sub(codes, zeroPoint), scale)
}

/**
 * Plain fake quantization with a straight-through estimator: the gradient passes where the rounded code lies in the range before
 * it is clamped, both ends included. Scale and zero point are constants in the backward pass.
 */
export function fakeQuantizeAffine<T>(ops: Ops<T>, x: T, params: AffineParams<T>, range: CodeRange): T {
  return ops.custom(
    [x],
    ([v]) => {
      const { codes, unclamped } = affineCodes(ops, v, params, range)
      return { output: affineValues(ops, codes, params), saved: [insideOf(ops, unclamped, range)] }
    },
    (dy, [inside]) => [ops.mul(dy, inside)],
  )
}
