import type { GramStatistic } from '../contract/v2/statistics.js'
import type { QTensor } from '../qtensor.js'
import { affineCodeRange } from '../reference/affine.js'
import { allocateCodes, middleCode } from '../reference/codes.js'
import { roundHalfEven } from '../reference/round.js'
import { isIntegerCode, type Scheme } from '../scheme.js'
import { wholly, type Slices } from '../slices/slices.js'
import { matrixGranules, overGranules, type Granules } from './granules.js'
import { roundToNearestSlices } from './nearest.js'
import { searchTernary } from './ternary.js'

/** 1.5 · 2^52, see `reference/round.ts`; inlined because this loop runs for every weight and candidate. */
const SHIFT = 6755399441055744

/** Ranges tried, as shares of the whole range: a little wider, then narrower by 6 % a step down to a tenth. */
const SHARES = Float64Array.from({ length: 40 }, (_, i) => 1.06 * 0.94 ** i)

/** The search stops once this many narrower ranges in a row were worse. */
const PATIENCE = 6

/** Elements between two cuts: each is looked at some fifty times. */
const SEARCH_PIECE = 2 ** 14

/** Rounds of "best scale for these codes, codes for this scale" from the best range on. */
const REFINEMENTS = 4

/**
 * Scale and zero point of least squared weight error for each granule: ranges are tried from the whole one down, then the scale is
 * the least-squares one for its own codes until that stops paying. Never worse than `roundToNearest`, which is a candidate.
 * @param gram XᵀX of the site's input: the error of column k then counts `gram[k, k]` times
 */
export function searchWeights(w: Float32Array, rows: number, columns: number, scheme: Scheme, gram?: GramStatistic): QTensor {
  return wholly(searchWeightSlices(w, rows, columns, scheme, gram))
}

/** {@link searchWeights} in slices; a granule is never cut. */
export function* searchWeightSlices(w: Float32Array, rows: number, columns: number, scheme: Scheme, gram?: GramStatistic): Slices<QTensor> {
  const plain = yield* roundToNearestSlices(w, rows, columns, scheme)
  const { dtype } = scheme
  if (!isIntegerCode(dtype) || dtype === 'binary') return plain
  const granules = matrixGranules(scheme, rows, columns)
  const codes = allocateCodes(dtype, w.length)
  const scales = new Float32Array(granules.count)
  const result: QTensor = { scheme, shape: plain.shape, codes, params: { scales, shape: granules.shape } }
  if (dtype === 'ternary' && gram === undefined) {
    yield* overGranules(granules, (start, end) => searchTernary(w, granules, { codes, scales }, start, end))
    return result
  }
  const symmetric = scheme.symmetric || dtype === 'ternary'
  const grouped = scheme.granularity.kind === 'group'
  const range = affineCodeRange(dtype, { symmetric: symmetric && !grouped, reduceRange: scheme.reduceRange ?? false })
  const finder = new GranuleSearch(w, { ...range, symmetric, floatZero: scheme.zeroPoint === 'float', negativeScales: grouped })
  const before = plain.params.zeroPoints
  const zeroPoints = scheme.zeroPoint === 'float' ? new Float32Array(granules.count) : new Int32Array(granules.count)
  const importance = gram === undefined ? undefined : columnWeights(gram, rows, columns, granules)
  const search = (granule: number): void => {
    const from = granules.base(granule)
    const fallback = { scale: plain.params.scales[granule] ?? 0, zeroPoint: before?.[granule] ?? middleCode(dtype) }
    const found = finder.search(from, granules.length(granule), granules.stride, fallback, importance?.(granule))
    scales[granule] = found.scale
    zeroPoints[granule] = found.zeroPoint
    finder.write(codes, from, granules.length(granule), granules.stride, found)
  }
  yield* overGranules(granules, (start, end) => {
    for (let granule = start; granule < end; granule++) search(granule)
  }, SEARCH_PIECE)
  if (scheme.symmetric && before === undefined) return result
  return { ...result, params: { ...result.params, zeroPoints } }
}

/** Error weights of a granule's elements, where its elements are different columns. */
function columnWeights(gram: GramStatistic, rows: number, columns: number, granules: Granules): ((granule: number) => Float64Array) | undefined {
  if (granules.stride !== 1 || gram.size !== columns) return undefined
  const diagonals = Float64Array.from({ length: gram.groups * columns }, (_, i) => {
    const group = Math.floor(i / columns)
    const k = i % columns
    return gram.data[(group * columns + k) * columns + k] ?? 0
  })
  const rowsPerGroup = rows / gram.groups
  return (granule) => {
    const from = granules.base(granule)
    const length = granules.length(granule)
    const at = (i: number): number => Math.floor(Math.floor(i / columns) / rowsPerGroup) * columns + (i % columns)
    // A granule inside one row is one run of columns; a whole tensor repeats the diagonal.
    if (length <= columns) return diagonals.subarray(at(from), at(from) + length)
    return Float64Array.from({ length }, (_, i) => diagonals[at(from + i)] ?? 0)
  }
}

interface Found {
  readonly scale: number
  readonly zeroPoint: number
}

interface SearchSpace {
  /** Lowest and highest code. */
  readonly min: number
  readonly max: number
  readonly symmetric: boolean
  readonly floatZero: boolean
  /** Block formats allow them; what reads one scale a channel may not. */
  readonly negativeScales: boolean
}

/** The search over one granule at a time, with a copy of its values laid out densely. */
class GranuleSearch {
  readonly #w: Float32Array
  readonly #min: number
  readonly #max: number
  readonly #symmetric: boolean
  readonly #floatZero: boolean
  readonly #signs: readonly number[]
  #values = new Float32Array(0)
  #weights: Float64Array | undefined
  #length = 0
  // Sums that `#error` leaves behind for the least-squares step.
  #hwd = 0
  #hdd = 0

  constructor(w: Float32Array, space: SearchSpace) {
    this.#w = w
    this.#min = space.min
    this.#max = space.max
    this.#symmetric = space.symmetric
    this.#floatZero = space.floatZero
    // Where the codes reach further down (−8 against 7) a negative scale gives the longer side to positive weights.
    this.#signs = space.symmetric && space.negativeScales && space.max !== -space.min ? [1, -1] : [1]
  }

  search(from: number, length: number, stride: number, plain: Found, weights: Float64Array | undefined): Found {
    if (this.#values.length < length) this.#values = new Float32Array(length)
    this.#length = length
    this.#weights = weights
    const values = this.#values
    let low = 0
    let high = 0
    for (let j = 0, i = from; j < length; j++, i += stride) {
      const value = this.#w[i] as number
      values[j] = value
      if (value < low) low = value
      if (value > high) high = value
    }
    let best = plain
    let least = this.#error(plain)
    if (least === 0) return best
    const consider = (candidate: Found): boolean => {
      const error = this.#error(candidate)
      if (!(error < least)) return false
      least = error
      best = candidate
      return true
    }
    for (const sign of this.#signs) {
      let worse = 0
      for (const share of SHARES) {
        worse = consider(this.#candidate(low * share, high * share, sign)) ? 0 : worse + 1
        if (worse > PATIENCE && share < 1) break
      }
    }
    for (let i = 0; i < REFINEMENTS; i++) {
      this.#error(best)
      const { zeroPoint } = best
      const scale = Math.fround(this.#hwd / this.#hdd)
      if (!Number.isFinite(scale) || scale === 0) break
      let improved = consider({ scale, zeroPoint })
      if (!this.#symmetric) {
        const step = this.#floatZero ? 0.1 : 1
        for (const delta of [-step, step]) {
          const moved = zeroPoint + delta
          if (this.#floatZero || (moved >= this.#min && moved <= this.#max)) improved = consider({ scale, zeroPoint: this.#floatZero ? Math.fround(moved) : moved }) || improved
        }
      }
      if (!improved) break
    }
    return best
  }

  /** Parameters that map a range onto the codes. */
  #candidate(low: number, high: number, sign: number): Found {
    const min = this.#min
    const max = this.#max
    if (this.#symmetric) {
      const middle = min === 0 ? (max + 1) / 2 : 0
      return { scale: Math.fround((sign * Math.max(-low, high)) / (middle - min)), zeroPoint: middle }
    }
    const scale = Math.fround((high - low) / (max - min))
    const exact = scale === 0 ? min : min - low / scale
    return { scale, zeroPoint: this.#floatZero ? Math.fround(exact) : Math.min(Math.max(roundHalfEven(exact), min), max) }
  }

  /** Weighted squared error, and the sums of the least-squares scale for the codes it saw. */
  #error({ scale, zeroPoint }: Found): number {
    const values = this.#values
    const weights = this.#weights
    const low = this.#min - zeroPoint
    const high = this.#max - zeroPoint
    // Divided by 0, everything means 0.
    const inverse = scale === 0 ? 0 : 1 / scale
    const shift = this.#floatZero ? zeroPoint : 0
    let error = 0
    let hwd = 0
    let hdd = 0
    for (let j = 0; j < this.#length; j++) {
      const value = values[j] as number
      const exact = value * inverse
      const level = (exact < low ? low : exact > high ? high : exact) + shift + SHIFT - SHIFT - shift
      const h = weights === undefined ? 1 : (weights[j] as number)
      const d = value - level * scale
      error += h * d * d
      hwd += h * value * level
      hdd += h * level * level
    }
    this.#hwd = hwd
    this.#hdd = hdd
    return error
  }

  /** Codes of a granule under the parameters found, by the same rounding as the search. */
  write(codes: QTensor['codes'], from: number, length: number, stride: number, { scale, zeroPoint }: Found): void {
    const inverse = scale === 0 ? 0 : 1 / scale
    for (let j = 0, i = from; j < length; j++, i += stride) {
      const exact = (this.#w[i] as number) * inverse + zeroPoint
      codes[i] = roundHalfEven(exact < this.#min ? this.#min : exact > this.#max ? this.#max : exact)
    }
  }
}
