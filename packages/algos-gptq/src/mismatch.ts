import { inSlices, LowbitError, type GramStatistic, type LinAlg, type RoundingJob, type Slices } from '@lowbit/core'
import { factorise } from './hessian.js'

export interface Mismatch {
  /** How much of the way to the float model's output is gone: 0 stays with the weight, 1 takes all of it back. */
  readonly share: number
  /** Added to the Gram diagonal, as a share of its mean. */
  readonly percdamp: number
}

/** A job whose weight is what rounding should come near to, and how far that is from the weight given, relative to it. */
export interface Matched {
  readonly job: RoundingJob
  readonly moved: number
}

/**
 * The weight that rounding should aim at where the layers before are rounded already (GPTAQ, Li et al. 2025; Qronos, Zhang et al. 2025):
 * the layer gets X̂, and what it should put out is what the float model does with its X. `‖W X − V X̂‖² + λ ‖W − V‖²` is least for
 * `V = W + W (X − X̂) X̂ᵀ (X̂ X̂ᵀ + λ)⁻¹`; the rest is rounding V under the Gram matrix of X̂. `share` of the step is taken: all of it
 * fits the calibration data at the cost of others.
 *
 * Without a cross-Gram matrix the job is given back as it is.
 * @throws LOWBIT_SHAPE, LOWBIT_NONFINITE, LOWBIT_SINGULAR
 */
export async function towardsFloat(job: RoundingJob, { share, percdamp }: Mismatch): Promise<Matched> {
  const { gram, 'cross-gram': cross, ...others } = job.statistics
  if (gram === undefined || cross === undefined) return { job, moved: 0 }
  const thing = `GPTQ of ${job.site.id}`
  if (cross.size !== gram.size || cross.groups !== gram.groups) {
    throw new LowbitError('LOWBIT_SHAPE', { thing, found: `cross-Gram matrices of ${cross.size} columns in ${cross.groups} groups`, expected: `${gram.size} columns in ${gram.groups} groups` })
  }
  const rest = { ...job, statistics: { ...others, gram } }
  if (share === 0) return { job: rest, moved: 0 }
  const { rows, columns } = job.site.weight
  const data = Float32Array.from(job.weight.data)
  const perGroup = rows / gram.groups
  let step = 0
  for (let g = 0; g < gram.groups; g++) {
    const part = data.subarray(g * perGroup * columns, (g + 1) * perGroup * columns)
    const moves = await inSlices(movesOf(part, perGroup, gram, cross, g, thing, job.linalg, percdamp), job.signal, thing)
    for (let i = 0; i < part.length; i++) {
      part[i] += share * moves[i]
      step += (share * moves[i]) ** 2
    }
  }
  const at = data.findIndex((v) => !Number.isFinite(v))
  if (at >= 0) throw new LowbitError('LOWBIT_NONFINITE', { thing, found: 'a cross-Gram matrix with NaN or infinity', expected: 'finite activations', fix: 'look for NaN or infinity in the calibration data' })
  const power = job.weight.data.reduce((sum, w) => sum + w * w, 0)
  return { job: { ...rest, weight: { ...job.weight, data } }, moved: power === 0 ? 0 : Math.sqrt(step / power) }
}

/** `W (C − G) (G + λ)⁻¹` of one group, C = XX̂ᵀ, with `(G + λ)⁻¹ = R⁻ᵀ R⁻¹`. */
function* movesOf(weight: Float32Array, rows: number, gram: GramStatistic, cross: GramStatistic, group: number, thing: string, linalg: LinAlg, percdamp: number): Slices<Float64Array> {
  const k = gram.size
  const start = group * k * k
  const scale = 2 / Math.max(1, gram.rows)
  const { factor } = yield* factorise(gram, group, thing, linalg, { percdamp, actOrder: 'off' })
  const inverse = yield* linalg.slices.invertUpper(factor, k)
  const gap = new Float64Array(k * k)
  const transposed = new Float64Array(k * k)
  for (let i = 0; i < k; i++) {
    for (let j = 0; j < k; j++) {
      // The statistic has X̂ outside: X̂ᵀX by rows.
      gap[j * k + i] = (cross.data[start + i * k + j] - gram.data[start + i * k + j]) * scale
      transposed[j * k + i] = inverse[i * k + j]
    }
    yield
  }
  const wanted = yield* linalg.slices.matmul(Float64Array.from(weight), gap, rows, k, k)
  return yield* linalg.slices.matmul(yield* linalg.slices.matmul(wanted, transposed, rows, k, k), inverse, rows, k, k)
}
