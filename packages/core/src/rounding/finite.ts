import { LowbitError } from '../errors.js'

/**
 * Refuses NaN and infinite weights: one of them would silently ruin a whole granule.
 * @throws LOWBIT_NONFINITE naming the site and the place.
 */
export function requireFiniteWeight(data: Float32Array, columns: number, site: string): void {
  // x − x is 0 for every finite number: the sum over a whole matrix needs no branch, and tells whether to look closer.
  let sum = 0
  for (let i = 0; i < data.length; i++) sum += (data[i] as number) - (data[i] as number)
  if (sum === 0) return
  const at = data.findIndex((value) => !Number.isFinite(value))
  throw new LowbitError('LOWBIT_NONFINITE', { thing: `site '${site}'`, found: `weight ${data[at]} at [${Math.floor(at / columns)}, ${at % columns}]`, expected: 'finite weights', fix: 'repair the model, or exclude this site' })
}
