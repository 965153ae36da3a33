import type { LinAlg } from '../../contract/v2/linalg.js'
import type { Codes } from '../../qtensor.js'
import { clamp, roundHalfEven } from '../../reference/round.js'
import type { Slices } from '../../slices/slices.js'
import type { Levels } from './levels.js'
import { solvePositive } from './solve-positive.js'

/** Rows whose scales are fitted to their codes, in place. */
export interface FitProblem {
  readonly rows: readonly number[]
  readonly weight: Float32Array
  readonly columns: number
  readonly levels: Levels
  readonly codes: Codes
  readonly groupSize: number
  readonly perRow: number
  /** `[rows, perRow]` */
  readonly scales: Float32Array
  readonly zeroPoints: Int32Array | Float32Array | undefined
  readonly hessian: Float64Array
  readonly linalg: LinAlg
}

/** Gains are differences of large sums: what is smaller than this share of them is rounding. */
const ROUNDING = 1e-12

/** The products of one row: l_g are the levels of its codes in group g and 0 elsewhere, 1_g is 1 there. */
interface RowProducts {
  /** `l_g H l_h` */
  readonly levels: Float64Array
  /** `l_g H 1_h` */
  readonly mixed: Float64Array
  /** `1_g H 1_h` */
  readonly ones: Float64Array
  /** `l_g H w` */
  readonly levelTarget: Float64Array
  /** `1_g H w` */
  readonly oneTarget: Float64Array
}

/**
 * The scales of a row that are best for its codes, all groups together, in closed form: `q = Σ s_g (l_g − z_g 1_g)` is linear in them,
 * so `‖(w − q) R‖²`, H = R Rᵀ, is least where a system of as many equations as there are groups says. Zero points likewise, rounded to
 * whole numbers if they are stored as such, and the scales once more for those. A row whose error would not fall stays as it is.
 */
export function* fitScales(problem: FitProblem): Slices<void> {
  const { rows, weight, columns: k, levels, codes, groupSize, perRow, hessian, linalg } = problem
  const n = rows.length
  const w = new Float64Array(n * k)
  for (const [i, row] of rows.entries()) for (let j = 0; j < k; j++) w[i * k + j] = weight[row * k + j]
  const target = yield* linalg.slices.matmul(w, hessian, n, k, k)
  const ones = yield* sumsOfBlocks(hessian, k, groupSize, perRow)
  const products = rows.map((): RowProducts => ({ levels: new Float64Array(perRow * perRow), mixed: new Float64Array(perRow * perRow), ones, levelTarget: new Float64Array(perRow), oneTarget: new Float64Array(perRow) }))
  for (let g = 0; g < perRow; g++) {
    const from = g * groupSize
    const size = Math.min(groupSize, k - from)
    const part = new Float64Array(n * size)
    for (const [i, row] of rows.entries()) for (let t = 0; t < size; t++) part[i * size + t] = levels.level(codes[row * k + from + t])
    const seen = yield* linalg.slices.matmul(part, hessian.subarray(from * k, (from + size) * k), n, size, k)
    for (const [i, row] of rows.entries()) {
      const own = products[i]
      for (let j = 0; j < k; j++) {
        const h = Math.floor(j / groupSize)
        own.levels[g * perRow + h] += seen[i * k + j] * levels.level(codes[row * k + j])
        own.mixed[g * perRow + h] += seen[i * k + j]
      }
      for (let t = 0; t < size; t++) {
        own.levelTarget[g] += part[i * size + t] * target[i * k + from + t]
        own.oneTarget[g] += target[i * k + from + t]
      }
      yield
    }
  }
  for (const [i, row] of rows.entries()) {
    fitRow(problem, row, products[i])
    yield
  }
}

/** `1_g H 1_h`, `[perRow, perRow]`. */
function* sumsOfBlocks(hessian: Float64Array, k: number, groupSize: number, perRow: number): Slices<Float64Array> {
  const sums = new Float64Array(perRow * perRow)
  for (let i = 0; i < k; i++) {
    const row = Math.floor(i / groupSize) * perRow
    for (let j = 0; j < k; j++) sums[row + Math.floor(j / groupSize)] += hessian[i * k + j]
    yield
  }
  return sums
}

function fitRow({ scales, zeroPoints, levels, perRow }: FitProblem, row: number, products: RowProducts): void {
  const from = row * perRow
  const before = Float64Array.from(scales.subarray(from, from + perRow))
  const zeros = Float64Array.from({ length: perRow }, (_, g) => zeroPoints?.[from + g] ?? levels.middle)
  let best: { readonly scales: Float64Array; readonly zeros: Float64Array; readonly gain: number } = { scales: before, zeros, gain: gainOf(products, zeros, before) }
  const consider = (fitted: Float64Array | undefined, at: Float64Array): void => {
    if (fitted === undefined) return
    // What is stored is float32; a scale that is no number, 0 or of the other sign stays as it was.
    const stored = fitted.map((s, g) => (Number.isFinite(s) && Math.fround(s) !== 0 && Math.sign(s) === Math.sign(before[g]) && Number.isFinite(Math.fround(s)) ? Math.fround(s) : before[g]))
    const gain = gainOf(products, at, stored)
    if (gain > best.gain * (1 + ROUNDING)) best = { scales: stored, zeros: at, gain }
  }
  consider(bestScales(products, zeros), zeros)
  const moved = levels.zeroPoints === undefined || zeroPoints === undefined ? undefined : bestZeros(products, zeros, levels.zeroPoints)
  if (moved !== undefined) consider(bestScales(products, moved), moved)
  scales.set(best.scales, from)
  zeroPoints?.set(best.zeros, from)
}

/** `(l_g − z_g 1_g) H (l_h − z_h 1_h)` and `(l_g − z_g 1_g) H w`. */
function systemOf({ levels, mixed, ones, levelTarget, oneTarget }: RowProducts, zeros: Float64Array): { readonly matrix: Float64Array; readonly right: Float64Array } {
  const n = zeros.length
  const matrix = new Float64Array(n * n)
  for (let g = 0; g < n; g++) {
    for (let h = 0; h < n; h++) matrix[g * n + h] = levels[g * n + h] - zeros[h] * mixed[g * n + h] - zeros[g] * mixed[h * n + g] + zeros[g] * zeros[h] * ones[g * n + h]
  }
  return { matrix, right: levelTarget.map((t, g) => t - zeros[g] * oneTarget[g]) }
}

/** What scales take off the error of a row of zeros: `2 s·b − s A s`. */
function gainOf(products: RowProducts, zeros: Float64Array, scales: Float64Array): number {
  const { matrix, right } = systemOf(products, zeros)
  const n = zeros.length
  let gain = 0
  for (let g = 0; g < n; g++) {
    let seen = 0
    for (let h = 0; h < n; h++) seen += matrix[g * n + h] * scales[h]
    gain += scales[g] * (2 * right[g] - seen)
  }
  return gain
}

function bestScales(products: RowProducts, zeros: Float64Array): Float64Array | undefined {
  const { matrix, right } = systemOf(products, zeros)
  return solvePositive(matrix, right)
}

/** Scales and `zero · scale` are linear together: twice as many equations. */
function bestZeros({ levels, mixed, ones, levelTarget, oneTarget }: RowProducts, before: Float64Array, { whole, min, max }: NonNullable<Levels['zeroPoints']>): Float64Array | undefined {
  const n = before.length
  const matrix = new Float64Array(4 * n * n)
  const right = new Float64Array(2 * n)
  for (let g = 0; g < n; g++) {
    right[g] = levelTarget[g]
    right[n + g] = -oneTarget[g]
    for (let h = 0; h < n; h++) {
      matrix[g * 2 * n + h] = levels[g * n + h]
      matrix[g * 2 * n + n + h] = -mixed[g * n + h]
      matrix[(n + g) * 2 * n + h] = -mixed[h * n + g]
      matrix[(n + g) * 2 * n + n + h] = ones[g * n + h]
    }
  }
  const found = solvePositive(matrix, right)
  if (found === undefined) return undefined
  return before.map((old, g) => {
    const zero = found[n + g] / found[g]
    if (!Number.isFinite(zero)) return old
    return whole ? clamp(roundHalfEven(zero), min, max) : Math.fround(zero)
  })
}
