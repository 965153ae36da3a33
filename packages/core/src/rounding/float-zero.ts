import { roundHalfEven } from '../reference/round.js'
import type { RoundingTarget } from './block.js'
import type { Granules } from './granules.js'

/**
 * Asymmetric rounding with a zero point that may be any number: the codes span exactly the values there are, zero or not.
 * A constant granule is represented without error.
 */
export function roundFloatZero(w: Float32Array, granules: Granules, min: number, max: number, target: Omit<RoundingTarget, 'zeroPoints'> & { readonly zeroPoints: Float32Array }, start = 0, end = granules.count): void {
  for (let granule = start; granule < end; granule++) {
    const from = granules.base(granule)
    const to = from + granules.length(granule) * granules.stride
    let low = Infinity
    let high = -Infinity
    for (let i = from; i < to; i += granules.stride) {
      const value = w[i] as number
      if (value < low) low = value
      if (value > high) high = value
    }
    const scale = Math.fround(high > low ? (high - low) / (max - min) : Math.abs(low))
    const zero = Math.fround(scale === 0 ? min : min - low / scale)
    target.scales[granule] = scale
    target.zeroPoints[granule] = zero
    for (let i = from; i < to; i += granules.stride) {
      const exact = scale === 0 ? min : (w[i] as number) / scale + zero
      target.codes[i] = roundHalfEven(exact < min ? min : exact > max ? max : exact)
    }
  }
}
