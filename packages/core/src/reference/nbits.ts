import { roundToFloat16 } from '../numbers/float16.js'
import { clamp, roundHalfAway, roundHalfEven } from './round.js'

/** One block of a weight row: unsigned codes `0 … 2^bits - 1`. */
export interface BlockCodes {
  /** May be negative where the block is symmetric. */
  readonly scale: number
  readonly zeroPoint: number
  readonly codes: readonly number[]
}

/** The element of largest magnitude; the smallest where both ends are equally far. */
function signedExtreme(values: ArrayLike<number>): number {
  let low = Infinity
  let high = -Infinity
  for (let i = 0; i < values.length; i++) {
    low = Math.min(low, values[i] ?? 0)
    high = Math.max(high, values[i] ?? 0)
  }
  return Math.abs(high) > Math.abs(low) ? high : low
}

function rangeWithZero(values: ArrayLike<number>): { readonly low: number; readonly high: number } {
  let low = 0
  let high = 0
  for (let i = 0; i < values.length; i++) {
    low = Math.min(low, values[i] ?? 0)
    high = Math.max(high, values[i] ?? 0)
  }
  return { low, high }
}

/**
 * ONNX Runtime's block quantizer behind MatMulNBits (and `quantize_qdq_matmul_4bits`), all in float32: multiplication with the
 * reciprocal of the scale, halves away from zero. Symmetric: the signed extreme takes code 0, so the scale may be negative.
 * @param values one block, 1 … block size elements
 * @param precision of the weights: float16 weights have float16 scales, and the codes come from the rounded ones
 */
export function quantizeBlock(values: ArrayLike<number>, bits: number, symmetric: boolean, precision: 'float32' | 'float16' = 'float32'): BlockCodes {
  const top = 2 ** bits - 1
  let exact: number
  let zeroPoint: number
  if (symmetric) {
    exact = Math.fround(signedExtreme(values) / -(2 ** (bits - 1)))
    zeroPoint = 2 ** (bits - 1)
  } else {
    const { low, high } = rangeWithZero(values)
    exact = Math.fround(Math.fround(high - low) / top)
    zeroPoint = exact === 0 ? 0 : clamp(roundHalfAway(Math.fround(-low / exact)), 0, top)
  }
  const scale = precision === 'float16' ? roundToFloat16(exact) : exact
  const reciprocal = scale === 0 ? 0 : Math.fround(1 / scale)
  // The reciprocal of a subnormal scale may be infinite: 0 stays 0.
  const codes = Array.from(values, (value) => (value === 0 ? zeroPoint : clamp(roundHalfAway(Math.fround(Math.fround(value * reciprocal) + zeroPoint)), 0, top)))
  return { scale, zeroPoint, codes }
}

/**
 * The quantizer of GatherBlockQuantized: numpy, so it divides by the scale and rounds `v / scale + zeroPoint` once, half to even.
 * A zero block has the middle code and zero point.
 */
export function quantizeGatherBlock(values: ArrayLike<number>, bits: number, symmetric: boolean): BlockCodes {
  const top = 2 ** bits - 1
  const middle = 2 ** (bits - 1)
  if (symmetric) {
    const scale = Math.fround(signedExtreme(values) / -middle)
    return { scale, zeroPoint: middle, codes: Array.from(values, (value) => clamp(roundHalfEven(Math.fround(Math.fround(scale === 0 ? 0 : value / scale) + middle)), 0, top)) }
  }
  const { low, high } = rangeWithZero(values)
  const scale = Math.fround(Math.fround(high - low) / top)
  if (scale === 0) return { scale, zeroPoint: middle, codes: Array.from(values, () => middle) }
  const zeroPoint = clamp(roundHalfEven(Math.fround(-low / scale)), 0, top)
  return { scale, zeroPoint, codes: Array.from(values, (value) => clamp(roundHalfEven(Math.fround(Math.fround(value / scale) + zeroPoint)), 0, top)) }
}

/** A weight as MatMulNBits means it: `[N, K]` unsigned codes, one scale and zero point a block along K. */
export interface BlockedWeight {
  readonly rows: number
  readonly columns: number
  readonly bits: number
  readonly blockSize: number
  readonly codes: ArrayLike<number>
  readonly scales: ArrayLike<number>
  /** Integer or float; the middle of the codes where absent. */
  readonly zeroPoints?: ArrayLike<number>
}

/**
 * What ONNX Runtime's CPU kernel does at an accuracy level: 4 quantizes activations to int8 per block (2 bits: only for blocks
 * of 32, 64 and 128), the others stay in float32.
 */
export function nbitsArithmetic(bits: number, blockSize: number, accuracyLevel: number): 'float32' | 'int8' {
  if (accuracyLevel !== 4) return 'float32'
  return bits !== 2 || (blockSize >= 32 && blockSize <= 128) ? 'int8' : 'float32'
}

/**
 * MatMulNBits: `a [M, K] × wᵀ [K, N]`, float32 `[M, N]`. Sums run in float64, so that this is the truth and not another order
 * of rounding; with int8 activations the dot product of a block is exact.
 */
export function matMulNBits(a: Float32Array, weight: BlockedWeight, accuracyLevel = 0): Float32Array<ArrayBuffer> {
  const { rows, columns, bits, blockSize } = weight
  const blocks = Math.ceil(columns / blockSize)
  const samples = columns === 0 ? 0 : a.length / columns
  const out = new Float32Array(samples * rows)
  const int8 = nbitsArithmetic(bits, blockSize, accuracyLevel) === 'int8'
  for (let m = 0; m < samples; m++) {
    for (let block = 0; block < blocks; block++) {
      const from = block * blockSize
      const to = Math.min(from + blockSize, columns)
      const part = a.subarray(m * columns + from, m * columns + to)
      const { values, scale: inputScale } = int8 ? quantizeActivations(part) : { values: part, scale: 1 }
      for (let n = 0; n < rows; n++) {
        const granule = n * blocks + block
        const zero = weight.zeroPoints?.[granule] ?? 2 ** (bits - 1)
        const scale = weight.scales[granule] ?? 0
        let sum = 0
        for (let k = 0; k < values.length; k++) sum += (values[k] ?? 0) * Math.fround((weight.codes[n * columns + from + k] ?? 0) - zero)
        out[m * rows + n] = (out[m * rows + n] ?? 0) + sum * inputScale * scale
      }
    }
  }
  return out
}

/** int8 activations of one block: symmetric, `rint(a · (127 / absmax))`, scale `absmax / 127`. */
export function quantizeActivations(values: Float32Array): { readonly values: Int8Array; readonly scale: number } {
  const absmax = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  const factor = absmax === 0 ? 0 : Math.fround(127 / absmax)
  return { values: Int8Array.from(values, (value) => roundHalfEven(Math.fround(value * factor))), scale: Math.fround(absmax / 127) }
}
