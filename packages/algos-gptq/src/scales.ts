import { rangeParams, gridCode, gridValue, type CodeGrid, type GridParams, type LinAlg, type Slices } from '@lowbit/core'
import { refineByGram, transposedFactor } from './gram-search.js'
import { searchWide } from './wide-search.js'

/** Exponent of the scale search in the authors' code. */
const NORM = 2.4
const SHRINKS = 80

export interface ScaleRule {
  readonly source: 'range' | 'mse' | 'gram'
  readonly negative: boolean
}

/** One group of many rows, as it stands when its scales are chosen. */
export interface GroupOfRows {
  readonly grid: CodeGrid
  /** `[size, rows]`: columns outermost, earlier errors propagated. */
  readonly values: Float64Array
  readonly size: number
  readonly rows: number
  /** `[size, size]` upper, row major: the group's own block of R. Only `gram` reads it. */
  readonly factor: Float64Array
  readonly linalg: LinAlg
}

/** Wider groups are searched by all rows together: alone, every range tried would read the whole factor. */
const WIDE = 128

/** Scale and zero point of each row. */
export function* chooseParams(group: GroupOfRows, rule: ScaleRule): Slices<readonly GridParams[]> {
  const { grid, values, size, rows, factor } = group
  if (rule.source === 'gram' && size > WIDE) return yield* searchWide({ ...group, negative: rule.negative })
  const columns = rule.source === 'gram' ? transposedFactor(factor, size) : factor
  const row = new Float64Array(size)
  const params: GridParams[] = []
  for (let r = 0; r < rows; r++) {
    let low = 0
    let high = 0
    for (let t = 0; t < size; t++) {
      const v = values[t * rows + r]
      row[t] = v
      if (v < low) low = v
      if (v > high) high = v
    }
    if (rule.source === 'range' || (low === 0 && high === 0)) params.push(rangeParams(grid, low, high))
    else params.push(rule.source === 'mse' ? leastError(grid, row, low, high) : refineByGram(grid, row, low, high, columns, rule.negative))
    yield
  }
  return params
}

/** Of 80 shrunk ranges the one with the least `Σ|q − w|^2.4`, the first on a tie. */
function leastError(grid: CodeGrid, values: Float64Array, low: number, high: number): GridParams {
  let best = rangeParams(grid, low, high)
  let least = Infinity
  for (let i = 0; i < SHRINKS; i++) {
    const p = 1 - i / 100
    const params = rangeParams(grid, low * p, high * p)
    let error = 0
    for (const v of values) error += Math.abs(gridValue(grid, params, gridCode(grid, params, v)) - v) ** NORM
    if (error < least) {
      least = error
      best = params
    }
  }
  return best
}
