import type { Ops } from '@lowbit/core'
import { bitActivationQuant } from './activation-quant.js'
import { rmsNorm } from './rms-norm.js'
import { bitWeightQuant } from './weight-quant.js'

export interface BitLinearOptions<T> {
  /** Gain of the norm, `[K]`. */
  readonly gain?: T
  /** `[N]`. */
  readonly bias?: T
  /** Share of the rounding that is applied. Default 1. */
  readonly lambda?: number
  /** ε of the norm. Default 1e-6. `norm: false` leaves the norm out, where the layer before has one. */
  readonly epsilon?: number
  readonly norm?: boolean
  /** How the weight lies. `KN` saves a transposition where a backend stores `[in, out]`. Default `NK`. */
  readonly orientation?: 'NK' | 'KN'
}

/**
 * BitLinear (BitNet b1.58): RMSNorm, int8 activations per row, ternary weights, both straight-through without a mask, so that
 * `dw = dyᵀ · x̂` and dx flows through ŵ and the norm.
 * @param x `[M, K]`
 * @param w latent weights `[N, K]`, or `[K, N]`
 */
export function bitLinear<T>(ops: Ops<T>, x: T, w: T, options: BitLinearOptions<T> = {}): T {
  const { gain, bias, lambda = 1, epsilon = 1e-6, norm = true, orientation = 'NK' } = options
  const normed = norm ? rmsNorm(ops, x, gain, epsilon) : x
  const y = ops.matmul(bitActivationQuant(ops, normed, lambda), bitWeightQuant(ops, w, lambda), false, orientation === 'NK')
  return bias === undefined ? y : ops.add(y, bias)
}
