import { LowbitError } from '../errors.js'
import { fromFloat16, roundToFloat16 } from '../numbers/float16.js'
import { granuleIndex, paramShape, type Codes } from '../qtensor.js'
import { codeRange, INTEGER_CODES, type Granularity, type IntegerCode } from '../scheme.js'
import { elementCount, hasDType, type HostTensor } from '../tensor.js'
import { allocateCodes } from './codes.js'
import { clamp, roundHalfEven } from './round.js'

/** How ranges become scales: the options of ONNX Runtime's quantizer. */
export interface AffineOptions {
  /** Zero point in the middle of the codes. Default false. */
  readonly symmetric?: boolean
  /** About half of the codes, so that sums of 16-bit pairs cannot saturate. Default false. */
  readonly reduceRange?: boolean
  /** The range is widened to at least this. */
  readonly minRealRange?: number
  /** Type of the tensor: ranges, the threshold for "too small" and the stored scale follow it. Default `float32`. */
  readonly precision?: 'float32' | 'float16'
}

/** Scale and zero point of one granule. */
export interface AffineParams {
  /** As stored: float32 or float16. */
  readonly scale: number
  readonly zeroPoint: number
  /** Before it was rounded for storing. */
  readonly exactScale: number
}

const PRECISION = {
  float32: { round: Math.fround, smallestNormal: 2 ** -126 },
  float16: { round: roundToFloat16, smallestNormal: 2 ** -14 },
} as const

const REDUCED: Partial<Record<IntegerCode, { readonly min: number; readonly max: number }>> = {
  uint8: { min: 0, max: 127 },
  int8: { min: -64, max: 64 },
  int16: { min: -16384, max: 16384 },
  uint16: { min: 0, max: 32767 },
  uint4: { min: 0, max: 7 },
  int4: { min: -4, max: 3 },
}

/**
 * Codes that a scale is made for. Symmetric int8 and int16 leave out the lowest; int4 does not (ONNX Runtime).
 * @throws LOWBIT_UNSUPPORTED for `reduceRange` with a type that has no reduced range.
 */
export function affineCodeRange(dtype: IntegerCode, options: Pick<AffineOptions, 'symmetric' | 'reduceRange'> = {}): { readonly min: number; readonly max: number } {
  if (options.reduceRange) {
    const reduced = REDUCED[dtype]
    if (reduced === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'reduceRange', found: dtype, expected: Object.keys(REDUCED).join(', '), fix: 'leave reduceRange off: codes this small cannot saturate' })
    return reduced
  }
  const full = codeRange(dtype)
  return options.symmetric && (dtype === 'int8' || dtype === 'int16') ? { min: -full.max, max: full.max } : full
}

/** Range with zero in it, wide enough, and even around zero if symmetric; in the tensor's own precision. */
function affineRange(min: number, max: number, options: AffineOptions): { readonly low: number; readonly high: number } {
  const { round } = PRECISION[options.precision ?? 'float32']
  const low = Math.min(round(min), 0)
  let high = Math.max(round(max), 0)
  if (options.minRealRange !== undefined) high = Math.max(high, round(low + round(options.minRealRange)))
  if (!options.symmetric) return { low, high }
  const reach = Math.max(-low, high)
  return { low: -reach, high: reach }
}

const middle = (codes: { readonly min: number; readonly max: number }): number => roundHalfEven((codes.min + codes.max) / 2)

/**
 * Scale and zero point for a range of values, per tensor or channel: ONNX Runtime's `compute_scale_zp`, in float64 from the
 * subtraction on. A scale below the smallest normal number becomes 1 with zero point 0.
 */
export function affineParams(min: number, max: number, dtype: IntegerCode, options: AffineOptions = {}): AffineParams {
  const { round, smallestNormal } = PRECISION[options.precision ?? 'float32']
  const codes = affineCodeRange(dtype, options)
  const { low, high } = affineRange(min, max, options)
  const exactScale = (high - low) / (codes.max - codes.min)
  if (!(exactScale >= smallestNormal)) return { scale: 1, zeroPoint: 0, exactScale: 1 }
  const zeroPoint = options.symmetric ? middle(codes) : roundHalfEven(codes.min - low / exactScale)
  return { scale: round(exactScale), zeroPoint, exactScale }
}

/**
 * Scale and zero point of one block (opset 21): the width is rounded first, and the zero point comes from the rounded scale.
 * Where the scale is too small a symmetric block keeps its middle zero point.
 */
export function blockedAffineParams(min: number, max: number, dtype: IntegerCode, options: AffineOptions = {}): AffineParams {
  const { round, smallestNormal } = PRECISION[options.precision ?? 'float32']
  const codes = affineCodeRange(dtype, options)
  const { low, high } = affineRange(min, max, options)
  const exactScale = round(high - low) / (codes.max - codes.min)
  const scale = round(exactScale)
  if (!(scale >= smallestNormal)) return { scale: 1, zeroPoint: options.symmetric ? middle(codes) : 0, exactScale: 1 }
  const zeroPoint = options.symmetric ? middle(codes) : clamp(roundHalfEven(codes.min - low / scale), codes.min, codes.max)
  return { scale, zeroPoint, exactScale }
}

/**
 * Scale of an unsigned type whose zero point may only be the lowest code or the middle one: `qmin` where nothing is negative,
 * else `(qmin + qmax + 1) / 2`. All in float64; an empty range counts as [0, 1].
 */
export function snappedParams(min: number, max: number, codes: { readonly min: number; readonly max: number }, minRealRange?: number): AffineParams {
  const low = Math.min(min, 0)
  let high = Math.max(max, 0)
  if (minRealRange !== undefined) high = Math.max(high, low + minRealRange)
  if (low === high) high = 1
  const zeroPoint = low >= 0 ? codes.min : Math.floor((codes.min + codes.max + 1) / 2)
  const exactScale = Math.max(low < 0 ? -low / (zeroPoint - codes.min) : 0, high / (codes.max - zeroPoint))
  return { scale: Math.fround(exactScale), zeroPoint, exactScale }
}

/** Codes with explicit scales and zero points, one a granule. */
export interface AffineTensor {
  readonly dtype: IntegerCode
  readonly shape: readonly number[]
  readonly codes: Codes
  readonly scales: Float32Array
  readonly zeroPoints: Int32Array
  /** Float64 scales before rounding. */
  readonly exactScales: Float64Array
  /** Shape of the granule grid. */
  readonly grid: readonly number[]
}

/**
 * ONNX QuantizeLinear: `saturate(rint(x / scale) + zeroPoint)`, float32. Infinities saturate.
 * @throws LOWBIT_SHAPE if the axis is not there.
 */
export function quantizeLinear(x: HostTensor, scales: Float32Array, zeroPoints: ArrayLike<number> | undefined, dtype: IntegerCode, granularity: Granularity): Codes {
  const values = floats(x)
  const { min, max } = INTEGER_CODES[dtype]
  const codes = allocateCodes(dtype, values.length)
  const granuleOf = granuleIndex(granularity, x.shape)
  for (let i = 0; i < values.length; i++) {
    const granule = granuleOf(i)
    const code = roundHalfEven(Math.fround((values[i] ?? 0) / (scales[granule] ?? 1))) + (zeroPoints?.[granule] ?? 0)
    codes[i] = clamp(code, min, max)
  }
  return codes
}

/** ONNX DequantizeLinear: `(code - zeroPoint) · scale`, float32. */
export function dequantizeLinear(codes: Codes, shape: readonly number[], scales: Float32Array, zeroPoints: ArrayLike<number> | undefined, granularity: Granularity): HostTensor<'float32'> {
  const data = new Float32Array(codes.length)
  const granuleOf = granuleIndex(granularity, shape)
  for (let i = 0; i < data.length; i++) {
    const granule = granuleOf(i)
    data[i] = ((codes[i] ?? 0) - (zeroPoints?.[granule] ?? 0)) * (scales[granule] ?? 1)
  }
  return { dtype: 'float32', shape, data }
}

/**
 * Quantizes a tensor with its own ranges, slowly and plainly. `group` takes the rules of blocked weights. An empty tensor has scale 1.
 * @param x float32 or float16 of any rank.
 * @throws LOWBIT_NONFINITE for NaN or infinite values, LOWBIT_DTYPE for other types.
 */
export function quantizeAffine(x: HostTensor, dtype: IntegerCode, granularity: Granularity, options: AffineOptions & { readonly range?: { readonly min: number; readonly max: number } } = {}): AffineTensor {
  const values = floats(x)
  const grid = paramShape(granularity, x.shape)
  const granules = elementCount(grid)
  const granuleOf = granuleIndex(granularity, x.shape)
  const mins = new Float64Array(granules)
  const maxs = new Float64Array(granules)
  const precision = x.dtype === 'float16' ? 'float16' : 'float32'
  values.forEach((value, i) => {
    if (!Number.isFinite(value)) throw new LowbitError('LOWBIT_NONFINITE', { thing: 'tensor to quantize', found: `${value} at index ${i}`, expected: 'finite values' })
    const granule = granuleOf(i)
    mins[granule] = Math.min(mins[granule] ?? 0, value)
    maxs[granule] = Math.max(maxs[granule] ?? 0, value)
  })
  const find = granularity.kind === 'group' ? blockedAffineParams : affineParams
  const none: AffineParams = { scale: 1, zeroPoint: 0, exactScale: 1 }
  const params = Array.from(mins, (min, granule) => values.length === 0 ? none : find(options.range?.min ?? min, options.range?.max ?? maxs[granule] ?? 0, dtype, { ...options, precision }))
  const scales = Float32Array.from(params, (p) => p.scale)
  const zeroPoints = Int32Array.from(params, (p) => p.zeroPoint)
  const codes = quantizeLinear(x, scales, zeroPoints, dtype, granularity)
  return { dtype, shape: x.shape, codes, scales, zeroPoints, exactScales: Float64Array.from(params, (p) => p.exactScale), grid }
}

function floats(x: HostTensor): Float32Array {
  if (hasDType(x, 'float32')) return x.data
  if (hasDType(x, 'float16')) return fromFloat16(x.data)
  throw new LowbitError('LOWBIT_DTYPE', { thing: 'tensor to quantize', found: x.dtype, expected: 'float32 or float16' })
}

/** ONNX DynamicQuantizeLinear: uint8 codes with the tensor's own scale, all in float32. All zeros: scale 1. */
export function dynamicQuantizeLinear(x: Float32Array): { readonly codes: Uint8Array<ArrayBuffer>; readonly scale: number; readonly zeroPoint: number } {
  let low = 0
  let high = 0
  for (const value of x) {
    if (value < low) low = value
    if (value > high) high = value
  }
  const scale = low === high ? 1 : Math.fround(Math.fround(high - low) / 255)
  const zeroPoint = roundHalfEven(clamp(Math.fround(-low / scale), 0, 255))
  return { codes: Uint8Array.from(x, (value) => clamp(roundHalfEven(Math.fround(value / scale)) + zeroPoint, 0, 255)), scale, zeroPoint }
}
