import { LowbitError, type GramStatistic, type LinAlg, type Slices } from '@lowbit/core'

/** The factorised Hessian of one Gram matrix, columns in the order they are taken. */
export interface Hessian {
  /** `order[i]` is the original column taken i-th. */
  readonly order: Int32Array
  /** `[K, K]` upper, `H = R Rᵀ` in that order, damping included. */
  readonly factor: Float64Array
  /** 1 where the input was always 0; by original column. */
  readonly dead: Uint8Array
  readonly deadCount: number
  /** Damping that was needed, as a share of the mean diagonal. */
  readonly percdamp: number
}

export interface HessianOptions {
  readonly percdamp: number
  readonly actOrder: 'off' | 'static'
}

/** Damping never rises beyond this share: the result is plain rounding by then. */
const MAX_PERCDAMP = 1e6

/**
 * `H = 2/rows · XᵀX` of one group, damped and factorised as `R Rᵀ`. The upper Cholesky factor of `H⁻¹` that the GPTQ paper
 * (Frantar et al. 2022, algorithm 1) propagates errors with is `R⁻¹`; it is never formed.
 * @throws LOWBIT_NONFINITE for NaN in the matrix; LOWBIT_SINGULAR with percdamp 0 if H is not positive definite.
 */
export function* factorise(gram: GramStatistic, group: number, thing: string, linalg: LinAlg, options: HessianOptions): Slices<Hessian> {
  const k = gram.size
  const start = group * k * k
  const scale = 2 / Math.max(1, gram.rows)
  const diagonal = new Float64Array(k)
  const dead = new Uint8Array(k)
  let deadCount = 0
  for (let i = 0; i < k; i++) {
    diagonal[i] = gram.data[start + i * k + i] * scale
    if (!Number.isFinite(diagonal[i])) {
      throw new LowbitError('LOWBIT_NONFINITE', { thing, found: `a Gram matrix with ${diagonal[i]} in column ${i}`, expected: 'finite activations', fix: 'look for NaN or infinity in the calibration data' })
    }
    if (diagonal[i] === 0) {
      dead[i] = 1
      deadCount++
      // Before the damping mean is taken, as the authors' code has it.
      diagonal[i] = 1
    }
  }
  const order = Int32Array.from({ length: k }, (_, i) => i)
  if (options.actOrder === 'static') order.sort((a, b) => diagonal[b] - diagonal[a] || a - b)
  const mean = diagonal.reduce((a, b) => a + b, 0) / k
  const h = new Float64Array(k * k)
  for (let i = 0; i < k; i++) {
    const row = start + order[i] * k
    for (let j = 0; j < k; j++) h[i * k + j] = gram.data[row + order[j]] * scale
    h[i * k + i] = diagonal[order[i]]
    yield
  }
  for (let percdamp = options.percdamp; ; percdamp *= 10) {
    for (let i = 0; i < k; i++) h[i * k + i] = diagonal[order[i]] + percdamp * mean
    const result = yield* linalg.slices.reverseCholesky(h, k)
    if (result.ok) return { order, factor: result.factor, dead, deadCount, percdamp }
    if (percdamp === 0 || percdamp > MAX_PERCDAMP) {
      throw new LowbitError('LOWBIT_SINGULAR', {
        thing,
        found: `a Gram matrix of ${gram.rows} rows that is not positive definite (column ${order[result.pivot]}) with damping percdamp ${percdamp}`,
        expected: 'a positive definite matrix',
        fix: 'set percdamp to 0.01, or calibrate with more samples',
      })
    }
  }
}
