import type { RoundingAlgorithm, RoundingJob, RoundingResult } from '../contract/v2/algorithm.js'
import type { Json } from '../contract/v2/plugin.js'
import { isLowbitError, LowbitError, throwIfAborted } from '../errors.js'
import type { QTensor } from '../qtensor.js'
import { dequantize } from '../reference/dequantize.js'
import { inSlices } from '../slices/slices.js'
import { VERSION } from '../version.js'
import { rowErrorSlices } from './output-error.js'

/**
 * Several rounding algorithms, and of their results what has the least output error, measured through the Gram matrix: for each output
 * channel where every channel has its own scales, else for the whole site. The first wins a tie, and where a site has no Gram matrix.
 * Takes as long as all of them together. A candidate that cannot do a scheme is left out, unless none can.
 *
 * The notes hold what each candidate would have cost and how many rows it won.
 * @throws LOWBIT_ARGUMENT without candidates.
 */
export function bestOf(candidates: readonly RoundingAlgorithm[]): RoundingAlgorithm {
  if (candidates.length === 0) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'bestOf', found: 'no algorithm', expected: 'one or more' })
  return {
    kind: 'rounding',
    name: '@lowbit/core/best-of',
    version: VERSION,
    apiVersion: 2,
    config: { candidates: candidates.map(({ name, version, config }): Json => ({ use: name, version, config })) },
    needs: (scheme) => [...new Set([...candidates.flatMap((c) => c.needs(scheme)), 'gram' as const])],
    round: (job) => choose(job, candidates),
  }
}

/** What one candidate made of a site. */
interface Attempt {
  readonly algorithm: RoundingAlgorithm
  readonly result: RoundingResult
  /** Output error of each row; none without a Gram matrix. */
  readonly errors: Float64Array | undefined
}

async function choose(job: RoundingJob, candidates: readonly RoundingAlgorithm[]): Promise<RoundingResult> {
  const { gram } = job.statistics
  const attempts: Attempt[] = []
  let refusal: unknown
  for (const algorithm of candidates) {
    throwIfAborted(job.signal, `rounding of ${job.site.id}`)
    if (gram === undefined && attempts.length > 0) break
    try {
      const result = await algorithm.round(job)
      const errors = gram === undefined ? undefined : await inSlices(rowErrorSlices(job.weight.data, dequantize(result.q).data, job.site.weight.rows, gram, job.linalg), job.signal, `rounding of ${job.site.id}`)
      attempts.push({ algorithm, result, errors })
    } catch (error) {
      if (!isLowbitError(error, 'LOWBIT_UNSUPPORTED')) throw error
      refusal ??= error
    }
  }
  const winners = winnerOfRows(attempts, job)
  if (winners === undefined) throw refusal
  const won = attempts.map((_, at) => winners.reduce((n, w) => n + Number(w === at), 0))
  const main = attempts[won.indexOf(Math.max(...won))]
  const used = attempts.filter((_, at) => won[at] > 0)
  const warnings = [...new Set(used.flatMap(({ result }) => result.warnings ?? []))]
  const chosen = attempts.map(({ algorithm, errors }, at): Json => ({ use: algorithm.name, config: algorithm.config, rows: won[at], ...(errors === undefined ? {} : { error: sum(errors) }) }))
  return {
    q: used.length === 1 ? main.result.q : pickRows(attempts.map((a) => a.result.q), winners),
    notes: { ...main.result.notes, chosen },
    ...(warnings.length === 0 ? {} : { warnings }),
  }
}

/** Index of the attempt that each row is taken of; undefined without attempts. */
function winnerOfRows(attempts: readonly Attempt[], job: RoundingJob): Uint8Array | undefined {
  if (attempts.length === 0) return undefined
  const winners = new Uint8Array(job.site.weight.rows)
  const errors = attempts.map((a) => a.errors ?? new Float64Array(winners.length))
  if (!rowsStandAlone(attempts)) {
    const totals = errors.map(sum)
    return winners.fill(totals.indexOf(Math.min(...totals)))
  }
  for (let row = 0; row < winners.length; row++) {
    for (let at = 1; at < errors.length; at++) if (errors[at][row] < errors[winners[row]][row]) winners[row] = at
  }
  return winners
}

/** True if results can be mixed: scales belong to single rows, and codes and parameters are of the same kind. */
function rowsStandAlone(attempts: readonly Attempt[]): boolean {
  const [first, ...others] = attempts.map(({ result }) => result.q)
  const { granularity } = first.scheme
  const rowwise = (granularity.kind === 'channel' && granularity.axis === 0) || (granularity.kind === 'group' && granularity.axis === 1)
  return rowwise && others.every((q) => JSON.stringify([q.scheme, q.params.shape]) === JSON.stringify([first.scheme, first.params.shape]) && (q.params.zeroPoints === undefined) === (first.params.zeroPoints === undefined))
}

function pickRows(sources: readonly QTensor[], winners: Uint8Array): QTensor {
  const [first] = sources
  const columns = first.codes.length / winners.length
  const perRow = first.params.scales.length / winners.length
  const codes = first.codes.slice()
  const scales = first.params.scales.slice()
  const zeroPoints = first.params.zeroPoints?.slice()
  for (const [row, at] of winners.entries()) {
    const { codes: from, params } = sources[at]
    codes.set(from.subarray(row * columns, (row + 1) * columns), row * columns)
    scales.set(params.scales.subarray(row * perRow, (row + 1) * perRow), row * perRow)
    if (params.zeroPoints !== undefined) zeroPoints?.set(params.zeroPoints.subarray(row * perRow, (row + 1) * perRow), row * perRow)
  }
  return { ...first, codes, params: { ...first.params, scales, ...(zeroPoints === undefined ? {} : { zeroPoints }) } }
}

const sum = (values: Float64Array): number => values.reduce((a, b) => a + b, 0)
