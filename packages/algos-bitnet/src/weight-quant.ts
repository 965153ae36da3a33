import type { Ops } from '@lowbit/core'

/** Floor of mean|w| and of a row's max|x|. */
export const BITNET_EPSILON = 1e-5

/** What a tensor was rounded to: codes, and the factor that was multiplied with before rounding (one over the step). */
export interface BitCodes<T> {
  readonly codes: T
  readonly scale: T
}

/** Ternary codes by absmean: `s = 1 / max(mean|w|, 1e-5)` over the whole matrix, `clamp(rint(w·s), -1, 1)`. */
export function bitWeightCodes<T>(ops: Ops<T>, w: T): BitCodes<T> {
  const scale = ops.div(ops.constant(1), ops.maximum(ops.mean(ops.abs(w)), ops.constant(BITNET_EPSILON)))
  return { codes: ops.minimum(ops.maximum(ops.rint(ops.mul(w, scale)), ops.constant(-1)), ops.constant(1)), scale }
}

/**
 * Ternary fake quantization (BitNet b1.58, Ma et al. 2024): `codes / s`, with an unmasked straight-through estimator.
 * @param lambda share of the rounding that is applied, `w + λ(q(w) - w)`: below 1 while a float checkpoint is warmed up
 */
export function bitWeightQuant<T>(ops: Ops<T>, w: T, lambda = 1): T {
  return straightThrough(ops, w, lambda, (v) => {
    const { codes, scale } = bitWeightCodes(ops, v)
    return ops.div(codes, scale)
  })
}

/** `x + λ(q(x) - x)` forward, the identity backward. */
export function straightThrough<T>(ops: Ops<T>, x: T, lambda: number, quantize: (x: T) => T): T {
  return ops.custom(
    [x],
    ([v]) => {
      const q = quantize(v)
      return { output: lambda === 1 ? q : ops.add(v, ops.mul(ops.constant(lambda), ops.sub(q, v))), saved: [] }
    },
    (dy) => [dy],
  )
}
