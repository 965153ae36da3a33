import { LowbitError } from '../errors.js'
import { codebook, nearestCode, type Codebook } from '../numbers/codebook.js'
import { affineCodeRange } from '../reference/affine.js'
import { middleCode } from '../reference/codes.js'
import { tableValues } from '../reference/dequantize.js'
import { clamp, roundHalfEven } from '../reference/round.js'
import { bitsOf, INTEGER_CODES, isIntegerCode, type Scheme } from '../scheme.js'

/** The codes an algorithm that searches for scales may use. */
export interface CodeGrid {
  readonly min: number
  readonly max: number
  /** Zero point of symmetric schemes. */
  readonly middle: number
  readonly symmetric: boolean
  /** The zero point may be any number. */
  readonly floatZero: boolean
  /** Codes of a table: what they stand for is looked up, and there is no zero point. */
  readonly table?: Codebook
}

/** Scale and zero point of one granule. `scale` is a float32 number: what is stored is what was computed with. */
export interface GridParams {
  readonly scale: number
  readonly zero: number
}

/**
 * The code grid of a weight scheme.
 * @throws LOWBIT_UNSUPPORTED for codes that have neither a zero between them nor a table (binary).
 */
export function codeGrid(scheme: Scheme, thing: string): CodeGrid {
  const { dtype, symmetric, reduceRange = false } = scheme
  if (!isIntegerCode(dtype)) return { min: 0, max: 2 ** bitsOf(dtype) - 1, middle: 0, symmetric: true, floatZero: false, table: codebook(tableValues(dtype)) }
  if (dtype === 'binary') {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `${dtype} codes`, expected: 'codes with a scale: int2 to int8, uint2 to uint8, ternary, tables', fix: 'round this site to nearest' })
  }
  const middle = middleCode(dtype)
  const { min, max } = reduceRange ? affineCodeRange(dtype, { reduceRange }) : INTEGER_CODES[dtype]
  if (symmetric && (middle < min || middle >= max)) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `symmetric ${dtype} with reduced range`, expected: 'a signed type, or zero points' })
  }
  return { min, max, middle, symmetric, floatZero: !symmetric && scheme.zeroPoint === 'float' }
}

/**
 * Parameters for a range of values, as GPTQ and AWQ have them: the range holds 0, an all-zero one counts as [-1, 1];
 * symmetric `s = 2·absmax / (codes - 1)`, else `s = (high - low) / (codes - 1)`, `zero = rint(-low / s)`.
 */
export function rangeParams(grid: CodeGrid, low: number, high: number): GridParams {
  let lo = Math.min(low, 0)
  let hi = Math.max(high, 0)
  const empty = lo === 0 && hi === 0
  if (empty) {
    lo = -1
    hi = 1
  }
  if (grid.table !== undefined) return { scale: positive(Math.max(-lo, hi) / reachOf(grid.table)), zero: 0 }
  const steps = grid.max - grid.min
  if (grid.symmetric) return { scale: positive((2 * Math.max(-lo, hi)) / steps), zero: grid.middle }
  const exact = (hi - lo) / steps
  const zero = grid.min - lo / exact
  return { scale: positive(exact), zero: grid.floatZero && !empty ? Math.fround(zero) : clamp(roundHalfEven(zero), grid.min, grid.max) }
}

/** `clamp(rint(w / s) + zero)`: a division, as the scale of a code decides ties. */
export function gridCode(grid: CodeGrid, { scale, zero }: GridParams, w: number): number {
  if (grid.table !== undefined) return nearestCode(grid.table, w / scale)
  const code = grid.floatZero ? roundHalfEven(w / scale + zero) : roundHalfEven(w / scale) + zero
  return clamp(code, grid.min, grid.max)
}

/** What a code stands for. */
export function gridValue(grid: CodeGrid, { scale, zero }: GridParams, code: number): number {
  return (grid.table === undefined ? code - zero : grid.table.values[code]) * scale
}

/** The largest magnitude of a table: a granule's is put there. */
function reachOf({ values, order }: Codebook): number {
  return order.reduce((most, code) => Math.max(most, Math.abs(values[code])), 0)
}

/** float32, and never 0: weights below the smallest float32 would divide by it. */
function positive(scale: number): number {
  const stored = Math.fround(scale)
  return stored === 0 ? 2 ** -149 : stored
}
