import { rangeParams, gridCode, type CodeGrid, type GridParams } from '@lowbit/core'
import { refineByGram } from './gram-search.js'

/** Weights of one group of one row, `length` of them, as they stand when its scale is chosen. */
export type GroupValues = Float64Array

/** Exponent of the scale search in the authors' code. */
const NORM = 2.4
const SHRINKS = 80

export interface ScaleRule {
  readonly source: 'range' | 'mse' | 'gram'
  readonly negative: boolean
}

/** Chooses scale and zero point. `factor` is the group's own block of R, row major; only `gram` reads it. */
export function chooseParams(grid: CodeGrid, rule: ScaleRule, values: GroupValues, factor: Float64Array): GridParams {
  let low = 0
  let high = 0
  for (const v of values) {
    if (v < low) low = v
    if (v > high) high = v
  }
  if (rule.source === 'range' || (low === 0 && high === 0)) return rangeParams(grid, low, high)
  return rule.source === 'mse' ? leastError(grid, values, low, high) : refineByGram(grid, values, low, high, factor, rule.negative)
}

/** Of 80 shrunk ranges the one with the least `Σ|q − w|^2.4`, the first on a tie. */
function leastError(grid: CodeGrid, values: GroupValues, low: number, high: number): GridParams {
  let best = rangeParams(grid, low, high)
  let least = Infinity
  for (let i = 0; i < SHRINKS; i++) {
    const p = 1 - i / 100
    const params = rangeParams(grid, low * p, high * p)
    let error = 0
    for (const v of values) error += Math.abs((gridCode(grid, params, v) - params.zero) * params.scale - v) ** NORM
    if (error < least) {
      least = error
      best = params
    }
  }
  return best
}
