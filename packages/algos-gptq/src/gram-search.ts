import { clamp, gridCode, gridValue, rangeParams, roundHalfEven, type CodeGrid, type GridParams } from '@lowbit/core'

/** First pass: ranges of 110 % down to 30 %. A little more than all is right where few codes are left. */
const COARSE = Array.from({ length: 17 }, (_, i) => 1.1 - i * 0.05)
const FINE = [0.03, 0.015, 0.0075] as const
const FITS = 2

/**
 * Scale of one group with the least output error. The group is rounded with error feedback inside it, and what counts is what
 * later columns cannot repair: `‖(w − q) R‖²`, R the group's own block of the factor. Ranges are tried coarse, then fine, at both
 * ends where there is a zero point; then the scale that fits the codes best in the least-squares sense takes over while it helps.
 * @param values the group as it stands, earlier errors propagated
 * @param columns `[g, g]` lower, row major: R transposed, as {@link transposedFactor} makes it
 */
export function refineByGram(grid: CodeGrid, values: Float64Array, low: number, high: number, columns: Float64Array, negative: boolean): GridParams {
  const trial = new Trial(grid, values, columns)
  let best: GridParams = rangeParams(grid, low, high)
  let least = trial.error(best)
  const attempt = (params: GridParams): boolean => {
    const error = trial.error(params, least)
    if (!(error < least)) return false
    least = error
    best = params
    return true
  }
  const flipped = ({ scale, zero }: GridParams): GridParams => ({ scale: -scale, zero })
  let sign = 1
  let bottom = 1
  let top = 1
  for (const p of COARSE) {
    const params = rangeParams(grid, low * p, high * p)
    if (attempt(params)) [sign, bottom, top] = [1, p, p]
    if (grid.symmetric && negative && attempt(flipped(params))) [sign, bottom, top] = [-1, p, p]
  }
  const ends = grid.symmetric ? ([[1, 1]] as const) : ([[1, 0], [0, 1]] as const)
  for (const step of FINE) {
    for (const [l, h] of ends) {
      for (const d of [step, -step]) {
        const params = rangeParams(grid, low * (bottom + l * d), high * (top + h * d))
        if (attempt(sign < 0 ? flipped(params) : params)) {
          bottom += l * d
          top += h * d
        }
      }
    }
  }
  for (let i = 0; i < FITS; i++) {
    const scale = trial.fittedScale(best)
    if (scale === undefined || !attempt({ scale, zero: best.zero })) break
  }
  return best
}

/** Columns of R as rows: the sum over earlier weights reads along them. */
export function transposedFactor(factor: Float64Array, size: number): Float64Array {
  const columns = new Float64Array(size * size)
  for (let i = 0; i < size; i++) for (let j = i; j < size; j++) columns[j * size + i] = factor[i * size + j]
  return columns
}

/** Rounds a group with feedback and measures what is left. */
class Trial {
  readonly #grid: CodeGrid
  readonly #values: Float64Array
  readonly #columns: Float64Array
  readonly #delta: Float64Array

  constructor(grid: CodeGrid, values: Float64Array, columns: Float64Array) {
    this.#grid = grid
    this.#values = values
    this.#columns = columns
    this.#delta = new Float64Array(values.length)
  }

  /** What later columns cannot repair; some number of at least `bound` as soon as it is known to reach that. */
  error(params: GridParams, bound = Infinity): number {
    const { scale, zero } = params
    const grid = this.#grid
    const { min, max, floatZero, table } = grid
    const values = this.#values
    const columns = this.#columns
    const delta = this.#delta
    const g = values.length
    let total = 0
    for (let t = 0, at = 0; t < g; t++, at += g) {
      let feedback = 0
      for (let s = 0; s < t; s++) feedback += delta[s] * columns[at + s]
      const pivot = columns[at + t]
      const w = values[t] + feedback / pivot
      let q: number
      if (table !== undefined) q = gridValue(grid, params, gridCode(grid, params, w))
      else {
        const code = floatZero ? roundHalfEven(w / scale + zero) : roundHalfEven(w / scale) + zero
        q = (clamp(code, min, max) - zero) * scale
      }
      delta[t] = values[t] - q
      const e = (w - q) * pivot
      total += e * e
      if (total >= bound) return total
    }
    return total
  }

  /** The scale with the least `‖(w − s·u) R‖²` for the codes u that these parameters give, u with the zero point taken off. */
  fittedScale(params: GridParams): number | undefined {
    this.error(params)
    const g = this.#values.length
    let dot = 0
    let square = 0
    for (let t = 0; t < g; t++) {
      let x = 0
      let y = 0
      for (let s = 0; s <= t; s++) {
        const r = this.#columns[t * g + s]
        x += this.#values[s] * r
        y += ((this.#values[s] - this.#delta[s]) / params.scale) * r
      }
      dot += x * y
      square += y * y
    }
    const scale = Math.fround(dot / square)
    return Number.isFinite(scale) && scale !== 0 && Math.sign(scale) === Math.sign(params.scale) ? scale : undefined
  }
}
