import type { Ops } from '@lowbit/core'
import { BITNET_EPSILON, straightThrough, type BitCodes } from './weight-quant.js'

/** int8 codes of each row: `s = 127 / max(max|x|, 1e-5)`, `clamp(rint(x·s), -128, 127)`. The scale keeps the last axis, as 1. */
export function bitActivationCodes<T>(ops: Ops<T>, x: T): BitCodes<T> {
  const scale = ops.div(ops.constant(127), ops.maximum(ops.max(ops.abs(x), [-1], true), ops.constant(BITNET_EPSILON)))
  // |x|·s is at most 127 and two roundings more, so the clamp of the formula never acts.
  return { codes: ops.rint(ops.mul(x, scale)), scale }
}

/** int8 fake quantization of each row, unmasked straight-through; `lambda` as in `bitWeightQuant`. */
export function bitActivationQuant<T>(ops: Ops<T>, x: T, lambda = 1): T {
  return straightThrough(ops, x, lambda, (v) => {
    const { codes, scale } = bitActivationCodes(ops, v)
    return ops.div(codes, scale)
  })
}
