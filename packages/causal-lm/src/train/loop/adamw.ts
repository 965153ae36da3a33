import type { Parameter } from '../model/parameters.js'

export interface AdamWOptions {
  /** Default 0.9 and 0.95. */
  readonly beta1?: number
  readonly beta2?: number
  /** Default 1e-8. */
  readonly epsilon?: number
  /** Of matrices and adapters; gains, biases and scales have none. Default 0. */
  readonly weightDecay?: number
  /** Learned scales move by their logarithm: their learning rate as a multiple of that of weights. Default 1. */
  readonly scaleRate?: number
}

/** The two moments of each trained parameter. */
export interface Moments {
  readonly m: Float32Array
  readonly v: Float32Array
}

/** AdamW (Loshchilov & Hutter 2019) on the host, where the values are: backends would only lend it the memory. */
export class AdamW {
  readonly moments = new Map<string, Moments>()
  /** Updates that were made. */
  updates = 0
  readonly #options: Required<AdamWOptions>

  constructor(parameters: readonly Parameter[], options: AdamWOptions = {}) {
    this.#options = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0, scaleRate: 1, ...options }
    for (const { name, values } of parameters) this.moments.set(name, { m: new Float32Array(values.length), v: new Float32Array(values.length) })
  }

  /** Forgets what it knows of parameters that were set anew. */
  reset(name: string): void {
    this.moments.get(name)?.m.fill(0)
    this.moments.get(name)?.v.fill(0)
  }

  /** @param factor gradients are multiplied by it: clipping */
  update(parameters: readonly Parameter[], gradients: ReadonlyMap<string, Float32Array>, learningRate: number, factor = 1): void {
    const { beta1, beta2, epsilon, weightDecay, scaleRate } = this.#options
    this.updates++
    const corrected = Math.sqrt(1 - beta2 ** this.updates) / (1 - beta1 ** this.updates)
    for (const { name, kind, values } of parameters) {
      const g = gradients.get(name)
      const moments = this.moments.get(name)
      if (g === undefined || moments === undefined) continue
      const { m, v } = moments
      const rate = learningRate * (kind === 'scale' ? scaleRate : 1)
      const keep = kind === 'matrix' || kind === 'adapter' ? 1 - rate * weightDecay : 1
      const step = rate * corrected
      const floor = epsilon * Math.sqrt(1 - beta2 ** this.updates)
      for (let i = 0; i < values.length; i++) {
        const gradient = g[i] * factor
        m[i] = beta1 * m[i] + (1 - beta1) * gradient
        v[i] = beta2 * v[i] + (1 - beta2) * gradient * gradient
        values[i] = values[i] * keep - (step * m[i]) / (Math.sqrt(v[i]) + floor)
      }
    }
  }
}

/** `√Σg²` over all gradients. */
export function gradientNorm(gradients: ReadonlyMap<string, Float32Array>): number {
  let sum = 0
  for (const values of gradients.values()) for (let i = 0; i < values.length; i++) sum += values[i] * values[i]
  return Math.sqrt(sum)
}
