import type { RoundingAlgorithm, RoundingJob, RoundingResult } from '../../contract/v2/algorithm.js'
import type { GramStatistic } from '../../contract/v2/statistics.js'
import { resolveOptions } from '../../options/check-options.js'
import type { DeclarationsOf } from '../../options/declaration.js'
import type { QTensor } from '../../qtensor.js'
import { inSlices, type Slices } from '../../slices/slices.js'
import { VERSION } from '../../version.js'
import { levelsOf } from './levels.js'
import { refineRows } from './strip.js'

/** How {@link refined} refines. */
export interface RefineOptions {
  /** Rounds over all codes and scales at most; a row ends before, once a round gains less than a thousandth. Default 4. */
  readonly sweeps?: number
  /** Added to the Gram diagonal, as a share of its mean: what calibration has not seen counts as well. Default 0.01. */
  readonly percdamp?: number
}

/** What {@link refined} takes beside the rounding. */
export const REFINE_OPTIONS = {
  sweeps: { type: 'integer', minimum: 1, maximum: 1000, default: 4, about: 'rounds over all codes and scales at most' },
  percdamp: { type: 'number', minimum: 0, default: 0.01, about: 'added to the Gram diagonal, as a share of its mean' },
} as const satisfies DeclarationsOf<RefineOptions>

/**
 * What a rounding algorithm made, with less output error: by turns each code is moved to what is best while all others stay, and the
 * scales and zero points of a row to what is best for its codes, in closed form. Both see the whole Gram matrix, so that a change in
 * one group makes up for what is lost in another. Integer codes with or without zero points, tables and signs.
 *
 * Never a larger error than before, the damping counted in. Sites without a Gram matrix are left as they are, and so are scales that
 * several rows share.
 */
export function refined(rounding: RoundingAlgorithm, options: RefineOptions = {}): RoundingAlgorithm {
  const settings = resolveOptions<RefineOptions, typeof REFINE_OPTIONS>(REFINE_OPTIONS, options, 'refined')
  return {
    kind: 'rounding',
    name: '@lowbit/core/refined',
    version: VERSION,
    apiVersion: 2,
    config: { rounding: { use: rounding.name, version: rounding.version, config: rounding.config }, ...settings },
    needs: (scheme) => [...new Set([...rounding.needs(scheme), 'gram' as const])],
    async round(job) {
      const result = await rounding.round(job)
      const { gram } = job.statistics
      return gram === undefined ? result : refineResult(result, job, gram, settings)
    },
  }
}

/** A result refined by a Gram matrix. Its arrays are not changed. */
export async function refineResult(result: RoundingResult, job: RoundingJob, gram: GramStatistic, { sweeps, percdamp }: Required<RefineOptions>): Promise<RoundingResult> {
  const q: QTensor = { ...result.q, codes: result.q.codes.slice(), params: { ...result.q.params, scales: result.q.params.scales.slice() } }
  const zeroPoints = result.q.params.zeroPoints?.slice()
  const { granularity } = q.scheme
  const { rows, columns } = job.site.weight
  const rowwise = (granularity.kind === 'channel' && granularity.axis === 0) || (granularity.kind === 'group' && granularity.axis === 1)
  if (!rowwise && granularity.kind !== 'tensor') return result
  const groupSize = granularity.kind === 'group' ? Math.min(granularity.size, columns) : columns
  const perRow = Math.ceil(columns / groupSize)
  const inGroup = rows / gram.groups
  for (let g = 0; g < gram.groups; g++) {
    const from = g * inGroup
    const params = <T extends Int32Array | Float32Array>(all: T): T => (rowwise ? all.subarray(from * perRow, (from + inGroup) * perRow) : all) as T
    const problem = {
      weight: job.weight.data.subarray(from * columns, (from + inGroup) * columns),
      rows: inGroup,
      columns,
      levels: levelsOf(q.scheme),
      codes: q.codes.subarray(from * columns, (from + inGroup) * columns),
      groupSize,
      scales: params(q.params.scales),
      zeroPoints: zeroPoints === undefined ? undefined : params(zeroPoints),
      fits: rowwise,
      sweeps,
      linalg: job.linalg,
    }
    const work = function* (): Slices<void> {
      const hessian = yield* damped(gram, g, percdamp)
      if (hessian !== undefined) yield* refineRows({ ...problem, hessian })
    }
    await inSlices(work(), job.signal, `refining of ${job.site.id}`)
  }
  return { ...result, q: { ...q, params: { ...q.params, ...(zeroPoints === undefined ? {} : { zeroPoints }) } } }
}

/** One Gram matrix with its damping; undefined where the input was always 0. Columns without input get what damping gives them. */
function* damped({ data, size: k }: GramStatistic, group: number, percdamp: number): Slices<Float64Array | undefined> {
  const from = group * k * k
  const hessian = new Float64Array(k * k)
  let mean = 0
  for (let i = 0; i < k; i++) {
    hessian.set(data.subarray(from + i * k, from + (i + 1) * k), i * k)
    mean += hessian[i * k + i] / k
    yield
  }
  if (!(mean > 0)) return undefined
  for (let i = 0; i < k; i++) {
    const at = i * k + i
    hessian[at] += percdamp * mean
    // Without damping a column that was never seen has no best code: any curvature leaves it where it is.
    if (hessian[at] === 0) hessian[at] = mean
  }
  return hessian
}
