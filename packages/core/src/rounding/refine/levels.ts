import { codebook, nearestCode } from '../../numbers/codebook.js'
import { middleCode } from '../../reference/codes.js'
import { tableValues } from '../../reference/dequantize.js'
import { clamp, roundHalfEven } from '../../reference/round.js'
import { isIntegerCode, type Scheme } from '../../scheme.js'
import { codeGrid } from '../code-grid.js'

/** What the codes of a scheme stand for before their scale: `value = (level(code) − zero) · scale`. */
export interface Levels {
  level(code: number): number
  /** Code whose level is nearest to `x + zero`. */
  nearest(x: number, zero: number): number
  /** Zero of symmetric codes and of tables. */
  readonly middle: number
  /** Zero points that are stored and may move: whole numbers from `min` to `max`, or any number. */
  readonly zeroPoints?: { readonly whole: boolean; readonly min: number; readonly max: number }
}

/** Levels of a weight scheme: evenly spaced, the entries of a table, or a sign. */
export function levelsOf(scheme: Scheme): Levels {
  const { dtype } = scheme
  if (!isIntegerCode(dtype)) {
    const values = tableValues(dtype)
    const book = codebook(values)
    return { level: (code) => values[code] ?? 0, nearest: (x) => nearestCode(book, x), middle: 0 }
  }
  if (dtype === 'binary') return { level: (code) => code, nearest: (x) => (x < 0 ? -1 : 1), middle: 0 }
  const { min, max, symmetric, floatZero } = codeGrid(scheme, dtype)
  return {
    level: (code) => code,
    nearest: (x, zero) => clamp(floatZero ? roundHalfEven(x + zero) : roundHalfEven(x) + zero, min, max),
    middle: middleCode(dtype),
    ...(symmetric ? {} : { zeroPoints: { whole: !floatZero, min, max } }),
  }
}
