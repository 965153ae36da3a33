import { LowbitError, resolveOptions, type AdapterAlgorithm, type AdapterJob, type AdapterStart, type DeclarationsOf, type Ops } from '@lowbit/core'
import { loftq } from './loftq.js'
import { uniform } from './random.js'
import { PACKAGE, VERSION } from './version.js'

export interface LoraOptions {
  /** Default 16. */
  readonly rank?: number
  /** The product is multiplied by `alpha / rank`. Default: twice the rank. */
  readonly alpha?: number
  /**
   * - `zero` (default): the model computes at first what its base computes.
   * - `loftq`: the adapter starts as what quantizing the base took away.
   */
  readonly start?: 'zero' | 'loftq'
  /** Rounds of LoftQ. Default 5. */
  readonly iterations?: number
}

/** What {@link lora} takes. */
export const LORA_OPTIONS = {
  rank: { type: 'integer', minimum: 1, default: 16, about: 'columns of the two small matrices' },
  alpha: { type: 'number', minimum: 0, otherwise: 'twice the rank', about: 'the adapter counts alpha / rank' },
  start: { type: 'choice', values: ['zero', 'loftq'], default: 'zero', about: 'as nothing, or as what quantizing the base took away' },
  iterations: { type: 'integer', minimum: 1, maximum: 100, default: 5, about: 'rounds of LoftQ' },
} as const satisfies DeclarationsOf<LoraOptions>

/**
 * LoRA (Hu et al. 2021): `y = x·Wᵀ + alpha / rank · (x·downᵀ)·upᵀ` over a frozen W; over one in codes it is QLoRA (Dettmers et al. 2023).
 * `down` starts uniform in ±1/√K and `up` as 0, or both from LoftQ (Li et al. 2023).
 * @throws (start) LOWBIT_ARGUMENT for a rank above either side of a matrix, or LoftQ where nothing is quantized
 */
export function lora(options: LoraOptions = {}): AdapterAlgorithm {
  const { rank, alpha = 2 * rank, start, iterations } = resolveOptions<LoraOptions, typeof LORA_OPTIONS>(LORA_OPTIONS, options, 'lora')
  const scale = alpha / rank
  return {
    kind: 'adapter', name: PACKAGE, version: VERSION, apiVersion: 2,
    config: { rank, alpha, start, ...(start === 'loftq' ? { iterations } : {}) },
    rank, scale,
    start(job) {
      const { id, rows, columns } = job.site
      if (rank > Math.min(rows, columns)) {
        throw new LowbitError('LOWBIT_ARGUMENT', { thing: `lora of '${id}'`, found: `rank ${rank} for a matrix [${rows}, ${columns}]`, expected: `at most ${Math.min(rows, columns)}`, fix: 'a smaller rank, or fewer targets' })
      }
      return start === 'zero' ? nothing(job, rank) : fromLoftq(job, { rank, iterations, scale })
    },
    forward: <T>(ops: Ops<T>, x: T, down: T, up: T): T => ops.mul(ops.matmul(ops.matmul(x, down, false, true), up, false, true), ops.constant(scale)),
  }
}

function nothing({ site: { rows, columns }, seed }: AdapterJob, rank: number): AdapterStart {
  const random = uniform(seed)
  const bound = 1 / Math.sqrt(columns)
  return { down: Float32Array.from({ length: rank * columns }, () => (2 * random() - 1) * bound), up: new Float32Array(rows * rank) }
}

function fromLoftq({ site: { id }, weight, quantize, seed }: AdapterJob, options: { readonly rank: number; readonly iterations: number; readonly scale: number }): AdapterStart {
  if (weight === undefined || quantize === undefined) {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: `lora of '${id}'`, found: weight === undefined ? 'LoftQ over a base that came in codes' : 'LoftQ over a base that stays in float', expected: 'float weights and a scheme for the base', fix: "start: 'zero', or open the float model with a base such as nf4" })
  }
  return loftq(weight, quantize, { ...options, seed })
}
