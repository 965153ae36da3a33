import { LowbitError } from '../errors.js'
import { wholly, type Slices } from '../slices/slices.js'

/** Elements between two cuts. */
const PIECE = 2 ** 20

/**
 * Refuses NaN and infinite weights: one of them would silently ruin a whole granule.
 * @throws LOWBIT_NONFINITE naming the site and the place.
 */
export function requireFiniteWeight(data: Float32Array, columns: number, site: string): void {
  wholly(finiteWeightSlices(data, columns, site))
}

/** {@link requireFiniteWeight} in slices. */
export function* finiteWeightSlices(data: Float32Array, columns: number, site: string): Slices<void> {
  // x − x is 0 for every finite number: the sum over a whole matrix needs no branch, and tells whether to look closer.
  let sum = 0
  for (let from = 0; from < data.length; from += PIECE) {
    sum += differences(data, from, Math.min(data.length, from + PIECE))
    yield
  }
  if (sum === 0) return
  const at = data.findIndex((value) => !Number.isFinite(value))
  throw new LowbitError('LOWBIT_NONFINITE', { thing: `site '${site}'`, found: `weight ${data[at]} at [${Math.floor(at / columns)}, ${at % columns}]`, expected: 'finite weights', fix: 'repair the model, or exclude this site' })
}

function differences(data: Float32Array, from: number, to: number): number {
  let sum = 0
  for (let i = from; i < to; i++) sum += (data[i] as number) - (data[i] as number)
  return sum
}
