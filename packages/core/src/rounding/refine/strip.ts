import type { LinAlg } from '../../contract/v2/linalg.js'
import type { Codes } from '../../qtensor.js'
import type { Slices } from '../../slices/slices.js'
import { fitScales, type FitProblem } from './exact-scales.js'
import type { Levels } from './levels.js'

/** Rows of one weight, their codes and parameters, which are refined in place. */
export interface RefineProblem {
  /** `[rows, K]` */
  readonly weight: Float32Array
  readonly rows: number
  readonly columns: number
  readonly levels: Levels
  readonly codes: Codes
  /** Columns that share a scale. */
  readonly groupSize: number
  /** `[rows, ceil(K / groupSize)]`, or one for all. */
  readonly scales: Float32Array
  readonly zeroPoints: Int32Array | Float32Array | undefined
  /** `[K, K]`, positive definite. */
  readonly hessian: Float64Array
  /** Scales and zero points may move: every row has its own. */
  readonly fits: boolean
  readonly sweeps: number
  readonly linalg: LinAlg
}

/** Most numbers that the systems of equations of a strip may hold. */
const MAX_SYSTEM = 4e6
const STRIP = 64

/** A row is done once a sweep takes less than this share of its error. */
const ENOUGH = 1e-3

/**
 * Lowers `Σ (w − q) H (w − q)ᵀ` row by row. Each sweep takes every code in turn to what is best while all others stay (coordinate
 * descent, Behdin et al. 2023, "QuantEase"), then all scales and zero points of the row to what is best for its codes. No step raises
 * the error.
 */
export function* refineRows(problem: RefineProblem): Slices<void> {
  const perRow = Math.ceil(problem.columns / problem.groupSize)
  const strip = Math.max(1, Math.min(STRIP, Math.floor(MAX_SYSTEM / (4 * perRow * perRow))))
  for (let first = 0; first < problem.rows; first += strip) yield* refineStrip(problem, first, Math.min(strip, problem.rows - first))
}

function* refineStrip(problem: RefineProblem, first: number, count: number): Slices<void> {
  const { columns: k, weight, hessian, sweeps, linalg, fits, groupSize } = problem
  const perRow = Math.ceil(k / groupSize)
  let active = Array.from({ length: count }, (_, i) => first + i)
  const least = new Map<number, number>()
  for (let sweep = 0; sweep < sweeps && active.length > 0; sweep++) {
    const n = active.length
    const values = new Float64Array(n * k)
    const rest = new Float64Array(n * k)
    for (const [i, row] of active.entries()) {
      writeValues(problem, row, perRow, values, i * k)
      for (let j = 0; j < k; j++) rest[i * k + j] = weight[row * k + j] - values[i * k + j]
    }
    const gradient = yield* linalg.slices.matmul(rest, hessian, n, k, k)
    const going: number[] = []
    for (const [i, row] of active.entries()) {
      let error = 0
      for (let at = i * k; at < (i + 1) * k; at++) error += rest[at] * gradient[at]
      const before = least.get(row) ?? Infinity
      least.set(row, error)
      if (error < before * (1 - ENOUGH)) going.push(i)
    }
    for (const i of going) {
      descend(problem, active[i], perRow, values.subarray(i * k, (i + 1) * k), gradient.subarray(i * k, (i + 1) * k))
      yield
    }
    active = going.map((i) => active[i])
    if (!fits || active.length === 0) continue
    yield* fitScales(fitProblem(problem, active, perRow))
  }
}

function writeValues({ codes, levels, scales, zeroPoints, columns: k, groupSize }: RefineProblem, row: number, perRow: number, values: Float64Array, at: number): void {
  for (let j = 0; j < k; j++) {
    const granule = granuleOf(scales, row, perRow, j, groupSize)
    values[at + j] = (levels.level(codes[row * k + j]) - (zeroPoints?.[granule] ?? levels.middle)) * scales[granule]
  }
}

/** One scale for all, or one for each group of a row. */
function granuleOf(scales: Float32Array, row: number, perRow: number, column: number, groupSize: number): number {
  return scales.length === 1 ? 0 : row * perRow + Math.floor(column / groupSize)
}

/**
 * One sweep over the codes of a row.
 * @param values - what the codes stand for, kept up to date
 * @param gradient - `(w − q) H`, kept up to date
 */
function descend({ codes, levels, scales, zeroPoints, columns: k, groupSize, hessian }: RefineProblem, row: number, perRow: number, values: Float64Array, gradient: Float64Array): void {
  for (let j = 0; j < k; j++) {
    const granule = granuleOf(scales, row, perRow, j, groupSize)
    const scale = scales[granule]
    const curvature = hessian[j * k + j]
    if (scale === 0) continue
    const zero = zeroPoints?.[granule] ?? levels.middle
    const code = levels.nearest((values[j] + gradient[j] / curvature) / scale, zero)
    if (code === codes[row * k + j]) continue
    const value = (levels.level(code) - zero) * scale
    const step = value - values[j]
    // A tie may fall either way: only what lowers the error is taken, so that the sweeps end.
    if (!(step * (step * curvature - 2 * gradient[j]) < 0)) continue
    codes[row * k + j] = code
    values[j] = value
    for (let i = 0, at = j * k; i < k; i++, at++) gradient[i] -= step * hessian[at]
  }
}

function fitProblem({ weight, columns, levels, codes, groupSize, scales, zeroPoints, hessian, linalg }: RefineProblem, rows: readonly number[], perRow: number): FitProblem {
  return { weight, columns, levels, codes, groupSize, perRow, scales, zeroPoints, hessian, linalg, rows }
}
