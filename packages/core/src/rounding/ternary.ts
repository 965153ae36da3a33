import type { RoundingTarget } from './block.js'
import type { Granules } from './granules.js'

/** Scales below this are raised to it: BitNet's guard against all-zero weights. */
const SMALLEST = 1e-5

/**
 * BitNet b1.58 (Ma et al. 2024): `s = 1 / max(mean|w|, 1e-5)`, codes `clamp(rint(w · s), -1, 1)`, float32.
 */
export function roundTernary(w: Float32Array, granules: Granules, target: RoundingTarget, start = 0, end = granules.count): void {
  for (let granule = start; granule < end; granule++) {
    const from = granules.base(granule)
    const length = granules.length(granule)
    const to = from + length * granules.stride
    let sum = 0
    for (let i = from; i < to; i += granules.stride) sum += Math.abs(w[i] as number)
    const scale = Math.fround(Math.max(sum / length, SMALLEST))
    const inverse = Math.fround(1 / scale)
    target.scales[granule] = scale
    for (let i = from; i < to; i += granules.stride) {
      const exact = Math.fround((w[i] as number) * inverse)
      // rint sends 0.5 to 0.
      target.codes[i] = exact > 0.5 ? 1 : exact < -0.5 ? -1 : 0
    }
  }
}

/**
 * Ternary codes of least squared error: with the t largest magnitudes kept, the best scale is their mean, and the error falls by
 * `(sum of them)² / t`; the best t is found by trying all. Exact.
 */
export function searchTernary(w: Float32Array, granules: Granules, target: RoundingTarget, start = 0, end = granules.count): void {
  for (let granule = start; granule < end; granule++) {
    const from = granules.base(granule)
    const length = granules.length(granule)
    const to = from + length * granules.stride
    const sorted = new Float32Array(length)
    for (let i = from, j = 0; i < to; i += granules.stride, j++) sorted[j] = Math.abs(w[i] as number)
    sorted.sort()
    let sum = 0
    let best = 0
    let scale = 0
    for (let t = 1; t <= length; t++) {
      sum += sorted[length - t] as number
      const gain = (sum * sum) / t
      if (gain > best) {
        best = gain
        scale = sum / t
      }
    }
    target.scales[granule] = scale
    const threshold = scale / 2
    for (let i = from; i < to; i += granules.stride) {
      const value = w[i] as number
      target.codes[i] = value > threshold ? 1 : value < -threshold ? -1 : 0
    }
  }
}

/** XNOR-Net (Rastegari et al. 2016): `sign(w) · mean|w|`, which is the scale of least squared error; sign(±0) = +1. */
export function roundBinary(w: Float32Array, granules: Granules, target: RoundingTarget, start = 0, end = granules.count): void {
  for (let granule = start; granule < end; granule++) {
    const from = granules.base(granule)
    const length = granules.length(granule)
    const to = from + length * granules.stride
    let sum = 0
    for (let i = from; i < to; i += granules.stride) {
      const value = w[i] as number
      sum += Math.abs(value)
      target.codes[i] = value < 0 ? -1 : 1
    }
    target.scales[granule] = sum / length
  }
}
