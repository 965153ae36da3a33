import { clamp, roundHalfEven } from './round.js'

const INT32_MAX = 2147483647

/** A bias as int32 codes with zero point 0. */
export interface QuantizedBias {
  readonly codes: Int32Array<ArrayBuffer>
  /** One, or one a channel: as many as weight scales. */
  readonly scales: Float32Array<ArrayBuffer>
}

/**
 * int32 bias of an integer product: scale `f32(inputScale · weightScale)` times `beta`, codes rounded in float64 and clipped.
 * @param bias `[N]` float32
 * @param weightScales one, or `[N]`
 * @param beta factor of Gemm's C
 */
export function quantizeBias(bias: Float32Array, inputScale: number, weightScales: Float32Array, beta = 1): QuantizedBias {
  const scales = Float32Array.from(weightScales, (scale) => Math.fround(inputScale * scale) * beta)
  const perChannel = scales.length > 1
  const codes = Int32Array.from(bias, (value, n) => clamp(roundHalfEven(value / (scales[perChannel ? n : 0] ?? 1)), -INT32_MAX - 1, INT32_MAX))
  return { codes, scales }
}

/**
 * Weight scales raised where the int32 bias would overflow (ONNX Runtime): a bias clipped to int32 would be wrong by any amount,
 * a coarser weight scale is wrong by a little.
 * @returns new scales; the same numbers where nothing overflows.
 */
export function weightScalesForInt32Bias(bias: Float32Array, inputScale: number, weightScales: Float32Array): Float32Array<ArrayBuffer> {
  const perChannel = weightScales.length > 1
  const whole = bias.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  return Float32Array.from(weightScales, (scale, n) => {
    const reach = perChannel ? Math.abs(bias[n] ?? 0) : whole
    const smallest = (1.0001 * 2 * reach) / (2 ** 32 - 2)
    const product = inputScale * scale
    return product > 0 && product < smallest ? scale * (smallest / product) : scale
  })
}
