import { LowbitError } from '../errors.js'

/**
 * Refuses NaN and infinite weights: one of them would silently ruin a whole granule.
 * @throws LOWBIT_NONFINITE naming the site and the place.
 */
export function requireFiniteWeight(data: Float32Array, columns: number, site: string): void {
  for (let i = 0; i < data.length; i++) {
    const value = data[i] ?? 0
    if (value - value !== 0) {
      throw new LowbitError('LOWBIT_NONFINITE', { thing: `site '${site}'`, found: `weight ${value} at [${Math.floor(i / columns)}, ${i % columns}]`, expected: 'finite weights', fix: 'repair the model, or exclude this site' })
    }
  }
}
