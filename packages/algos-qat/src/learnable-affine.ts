import type { Granularity, Ops } from '@lowbit/core'
import { affineCodes, affineValues } from './affine.js'
import { granules } from './granules.js'
import { clampTo, insideOf, type CodeRange } from './scale-rule.js'

export interface LearnableAffineOptions {
  readonly range: CodeRange
  readonly granularity: Granularity
  /** Multiplies the gradients of scale and zero point. Default 1. */
  readonly gradientFactor?: number
}

/**
 * Fake quantization whose scale and zero point are both learned (Bhalgat et al. 2020 in the form PyTorch has it).
 * `ds = g · Σ dy · (y - x)/s` inside and `g · Σ dy · (bound - zp)` outside, `dzp = -g · s · Σ dy` over clipped elements; the zero point
 * is rounded and clamped before use.
 *
 * @param scale, zeroPoint in the shape of the granule grid
 */
export function fakeQuantizeLearnable<T>(ops: Ops<T>, x: T, scale: T, zeroPoint: T, options: LearnableAffineOptions): T {
  const { range, granularity, gradientFactor = 1 } = options
  const g = granules(ops, granularity, ops.shape(x))
  return ops.custom(
    [x, scale, zeroPoint],
    ([v, s, z]) => {
      const params = { scale: g.spread(s), zeroPoint: clampTo(ops, ops.rint(g.spread(z)), range) }
      const view = g.view(v)
      const { codes, unclamped } = affineCodes(ops, view, params, range)
      const inside = insideOf(ops, unclamped, range)
      const values = affineValues(ops, codes, params)
      const slope = ops.where(inside, ops.div(ops.sub(values, view), params.scale), ops.sub(codes, params.zeroPoint))
      return { output: g.unview(values), saved: [inside, slope, params.scale] }
    },
    (dy, [inside, slope, s]) => {
      const flowing = g.view(dy)
      const factor = ops.constant(gradientFactor)
      const clipped = ops.sum(ops.mul(flowing, ops.sub(ops.constant(1), inside)), g.axes, true)
      return [
        g.unview(ops.mul(flowing, inside)),
        g.grid(ops.mul(factor, ops.sum(ops.mul(flowing, slope), g.axes, true))),
        g.grid(ops.neg(ops.mul(factor, ops.mul(s, clipped)))),
      ]
    },
  )
}
