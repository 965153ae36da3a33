import { clamp, gridCode, gridValue, rangeParams, roundHalfEven, type CodeGrid, type GridParams, type LinAlg, type Slices } from '@lowbit/core'

/** Ranges tried first, after the whole one. */
const COARSE = [0.8, 0.6, 0.4, 0.3]
/** Then both ends are moved outwards and inwards by these, from the best range so far. */
const STEPS = [0.1, 0.05, 0.03, 0.02, 0.015, 0.01]
/** Where there are zero points, each end alone as well. */
const END_STEPS = [0.03, 0.015]
/** Columns that wait for one matrix product with all columns before them. */
const BLOCK = 16

/** The same group of many rows, and the factor they share. */
export interface WideGroup {
  readonly grid: CodeGrid
  /** `[size, rows]`: weights as they stand, earlier errors propagated. */
  readonly values: Float64Array
  readonly size: number
  readonly rows: number
  /** `[size, size]` upper, row major: the group's own block of R. */
  readonly factor: Float64Array
  /** Scales may be negative. */
  readonly negative: boolean
  readonly linalg: LinAlg
}

/** A scale and the range behind it, so that its neighbours can be tried. */
interface Candidate extends GridParams {
  readonly sign: number
  readonly bottom: number
  readonly top: number
}

/**
 * Scales with the least output error, as `refineByGram` finds them, for groups so wide that each measurement counts: one costs a
 * product with the factor. All rows are measured together, each at its own candidate, so that this product is one of matrices.
 */
export function* searchWide(group: WideGroup): Slices<readonly GridParams[]> {
  const { grid, values, size, rows, negative } = group
  const low = new Float64Array(rows)
  const high = new Float64Array(rows)
  for (let t = 0, i = 0; t < size; t++) {
    for (let r = 0; r < rows; r++, i++) {
      if (values[i] < low[r]) low[r] = values[i]
      if (values[i] > high[r]) high[r] = values[i]
    }
    yield
  }
  const candidate = (row: number, sign: number, bottom: number, top: number): Candidate => {
    const { scale, zero } = rangeParams(grid, low[row] * bottom, high[row] * top)
    return { scale: sign * scale, zero, sign, bottom, top }
  }
  const search = new Search(group)
  for (const sign of grid.symmetric && negative ? [1, -1] : [1]) {
    for (const p of [1, ...COARSE]) yield* search.measure((row) => candidate(row, sign, p, p))
  }
  const move = function* (bottom: number, top: number): Slices<void> {
    const from = [...search.best]
    for (const d of [1, -1]) yield* search.measure((row) => candidate(row, from[row].sign, from[row].bottom + d * bottom, from[row].top + d * top))
  }
  for (const step of STEPS) yield* move(step, step)
  if (!grid.symmetric) {
    for (const step of END_STEPS) {
      yield* move(step, 0)
      yield* move(0, step)
    }
  }
  const fitted = yield* search.fittedScales()
  yield* search.measure((row) => ({ ...search.best[row], scale: fitted[row] }))
  return search.best
}

/** The best candidate of each row so far. */
class Search {
  readonly best: Candidate[] = []
  readonly #group: WideGroup
  #panels: readonly Float64Array[] | undefined
  readonly #least: Float64Array
  /** `[size, rows]`: what rounding with the best candidates left over, `(w − q) R`. */
  readonly #left: Float64Array
  readonly #trialLeft: Float64Array
  /** `[size, rows]`: weight minus rounded weight. */
  readonly #delta: Float64Array

  constructor(group: WideGroup) {
    const { size, rows } = group
    this.#group = group
    this.#least = new Float64Array(rows).fill(Infinity)
    this.#left = new Float64Array(size * rows)
    this.#trialLeft = new Float64Array(size * rows)
    this.#delta = new Float64Array(size * rows)
  }

  /** Rounds every row with error feedback inside the group; what later columns cannot repair decides whether its candidate is kept. */
  *measure(candidateOf: (row: number) => Candidate): Slices<void> {
    const { size, rows, linalg, factor } = this.#group
    const delta = this.#delta
    const candidates = Array.from({ length: rows }, (_, row) => candidateOf(row))
    const scales = Float64Array.from(candidates, (c) => c.scale)
    const zeros = Float64Array.from(candidates, (c) => c.zero)
    const errors = new Float64Array(rows)
    this.#panels ??= yield* panelsOf(factor, size)
    for (const [i, panel] of this.#panels.entries()) {
      const from = i * BLOCK
      const width = Math.min(BLOCK, size - from)
      const carried = from === 0 ? new Float64Array(width * rows) : yield* linalg.slices.matmul(panel, delta.subarray(0, from * rows), width, from, rows)
      for (let t = from; t < from + width; t++) {
        this.#roundColumn(t, scales, zeros, carried.subarray((t - from) * rows, (t - from + 1) * rows), errors)
        for (let s = t + 1; s < from + width; s++) addScaled(carried, (s - from) * rows, factor[t * size + s], delta, t * rows, rows)
        yield
      }
    }
    for (let r = 0; r < rows; r++) {
      if (!(errors[r] < this.#least[r])) continue
      this.#least[r] = errors[r]
      this.best[r] = candidates[r]
      for (let i = r; i < size * rows; i += rows) this.#left[i] = this.#trialLeft[i]
      yield
    }
  }

  #roundColumn(t: number, scales: Float64Array, zeros: Float64Array, carried: Float64Array, errors: Float64Array): void {
    const { size, rows, factor, values, grid } = this.#group
    const { min, max, floatZero, table } = grid
    const delta = this.#delta
    const left = this.#trialLeft
    const pivot = factor[t * size + t]
    for (let r = 0, i = t * rows; r < rows; r++, i++) {
      const scale = scales[r]
      const zero = zeros[r]
      const w = values[i] + carried[r] / pivot
      let q: number
      if (table !== undefined) q = gridValue(grid, { scale, zero }, gridCode(grid, { scale, zero }, w))
      else {
        const code = floatZero ? roundHalfEven(w / scale + zero) : roundHalfEven(w / scale) + zero
        q = (clamp(code, min, max) - zero) * scale
      }
      const e = (w - q) * pivot
      delta[i] = values[i] - q
      left[i] = e
      errors[r] += e * e
    }
  }

  /** For each row the scale with the least `‖(w − s·u) R‖²` for the codes u of its best candidate, u with the zero point taken off. */
  *fittedScales(): Slices<Float64Array> {
    const { size, rows, factor, values, linalg } = this.#group
    const transposed = new Float64Array(size * size)
    for (let i = 0; i < size; i++) {
      for (let j = i; j < size; j++) transposed[j * size + i] = factor[i * size + j]
      yield
    }
    const target = yield* linalg.slices.matmul(transposed, values, size, size, rows)
    const dots = new Float64Array(rows)
    const squares = new Float64Array(rows)
    for (let from = 0; from < target.length; from += rows) {
      for (let r = 0; r < rows; r++) {
        const x = target[from + r]
        const y = x - this.#left[from + r]
        dots[r] += x * y
        squares[r] += y * y
      }
      yield
    }
    return dots.map((dot, row) => {
      const before = this.best[row].scale
      const scale = Math.fround((before * dot) / squares[row])
      return Number.isFinite(scale) && scale !== 0 && Math.sign(scale) === Math.sign(before) ? scale : before
    })
  }
}

/** For each block of columns what stands above it in R, transposed: `[block, columns before]`. */
function* panelsOf(factor: Float64Array, size: number): Slices<readonly Float64Array[]> {
  const panels: Float64Array[] = []
  for (let from = 0; from < size; from += BLOCK) {
    const width = Math.min(BLOCK, size - from)
    const panel = new Float64Array(width * from)
    for (let i = 0; i < from; i++) for (let j = 0; j < width; j++) panel[j * from + i] = factor[i * size + from + j]
    panels.push(panel)
    yield
  }
  return panels
}

function addScaled(out: Float64Array, to: number, factor: number, source: Float64Array, from: number, count: number): void {
  if (factor === 0) return
  for (let i = 0; i < count; i++) out[to + i] += factor * source[from + i]
}
