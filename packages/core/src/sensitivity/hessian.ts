/** Estimates of a trace from random probes. */
export interface TraceEstimate {
  /** `vᵀ H v` of each probe. */
  readonly samples: Float64Array
  /** Mean of the samples so far. */
  readonly running: Float64Array
  readonly trace: number
  /** Standard error of `trace`; 0 for a single probe. */
  readonly standardError: number
}

/**
 * Hutchinson's estimator (1990), as in HAWQ-V2 (Dong et al. 2020, section 3.2): the mean of `vᵀ H v` over probes with entries ±1.
 * @param product `H v`, by whatever means: a matrix, or a difference of gradients ({@link hessianProduct})
 */
export function hutchinson(product: (v: Float64Array) => ArrayLike<number>, probes: Iterable<Float64Array>): TraceEstimate {
  const samples: number[] = []
  for (const v of probes) {
    const hv = product(v)
    let sample = 0
    for (let i = 0; i < v.length; i++) sample += v[i] * hv[i]
    samples.push(sample)
  }
  return traceOf(samples)
}

/** The estimate that samples of `vᵀ H v` give. */
export function traceOf(samples: readonly number[]): TraceEstimate {
  const running: number[] = []
  let sum = 0
  for (const sample of samples) {
    sum += sample
    running.push(sum / (running.length + 1))
  }
  const n = samples.length
  const trace = n === 0 ? Number.NaN : sum / n
  const variance = n < 2 ? 0 : samples.reduce((s, v) => s + (v - trace) ** 2, 0) / (n - 1)
  return { samples: Float64Array.from(samples), running: Float64Array.from(running), trace, standardError: Math.sqrt(variance / Math.max(1, n)) }
}

/**
 * `H v` as a central difference of gradients, `(g(w + h v) − g(w − h v)) / 2h`: no second derivative is asked of a backend.
 * @param gradient of the loss with respect to one weight
 * @param step h; default 1e-3 over the root mean square of v
 */
export function hessianProduct(gradient: (w: Float64Array) => ArrayLike<number>, w: ArrayLike<number>, step = 1e-3): (v: Float64Array) => Float64Array {
  return (v) => {
    const size = Math.sqrt(v.reduce((s, x) => s + x * x, 0) / Math.max(1, v.length))
    const h = size === 0 ? step : step / size
    const up = gradient(v.map((x, i) => w[i] + h * x))
    const down = gradient(v.map((x, i) => w[i] - h * x))
    return v.map((_, i) => (up[i] - down[i]) / (2 * h))
  }
}

/** Diagonal of the empirical Fisher matrix: the mean of squared per-sample gradients, not the square of their mean. */
export function fisherDiagonal(sampleGradients: Iterable<ArrayLike<number>>): Float64Array {
  let sums: Float64Array | undefined
  let count = 0
  for (const g of sampleGradients) {
    sums ??= new Float64Array(g.length)
    for (let i = 0; i < g.length; i++) sums[i] += g[i] * g[i]
    count++
  }
  return (sums ?? new Float64Array()).map((s) => s / Math.max(1, count))
}

/** HAWQ-V2's damage of a rounding, equation 7: the trace of the layer's Hessian over its number of weights, times `‖Q(W) − W‖²`. */
export function hawqPerturbation(trace: number, weight: ArrayLike<number>, quantized: ArrayLike<number>): number {
  let sum = 0
  for (let i = 0; i < weight.length; i++) sum += (quantized[i] - weight[i]) ** 2
  return weight.length === 0 ? 0 : (trace / weight.length) * sum
}
