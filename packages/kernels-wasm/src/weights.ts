import { checkGroupedTensor, checkQTensor, codeRange, fromBfloat16, fromFloat16, isIntegerCode, LowbitError, unpackWith, zeroPointsOf, type GroupedTensor, type HostTensor, type KernelWeights, type Layout, type QTensor } from '@lowbit/core'
import { formatOf, formatOfGrouped, zeroOf, type Dots, type Format } from './format.js'

export type FloatWeights = HostTensor<'float32'> | HostTensor<'float16'> | HostTensor<'bfloat16'>

/**
 * Weights as a matrix: codes (unpacked from whatever layout), codes in groups, or floats.
 * @throws LOWBIT_UNSUPPORTED, LOWBIT_SHAPE, LOWBIT_FORMAT, LOWBIT_DATA, LOWBIT_NONFINITE
 */
export function readWeights(source: KernelWeights, layout?: Layout): QTensor | GroupedTensor | FloatWeights {
  const weights = 'layout' in source ? unpackWith(source, layout) : source
  if (weights.shape.length !== 2 || weights.shape.some((size) => size < 1)) throw new LowbitError('LOWBIT_SHAPE', { thing: THING, found: `shape [${weights.shape.join(', ')}]`, expected: 'a matrix [N, K], neither of them 0' })
  if (isGrouped(weights)) checkGroupedTensor(weights, THING)
  else if (isCoded(weights)) checkQTensor(weights, THING)
  else checkFloatWeights(weights)
  return weights
}

const THING = 'weights for the kernels'

export function isGrouped(weights: QTensor | GroupedTensor | FloatWeights): weights is GroupedTensor {
  return 'scales' in weights
}

export function isCoded(weights: QTensor | GroupedTensor | FloatWeights): weights is QTensor {
  return 'scheme' in weights
}

/** @throws LOWBIT_DTYPE, LOWBIT_SHAPE, LOWBIT_NONFINITE */
export function checkFloatWeights(weights: FloatWeights): void {
  const { dtype } = weights
  if (dtype !== 'float32' && dtype !== 'float16' && dtype !== 'bfloat16') throw new LowbitError('LOWBIT_DTYPE', { thing: THING, found: String(dtype), expected: 'float32, float16, bfloat16, or a quantized tensor' })
  const [rows = 0, columns = 0] = weights.shape
  if (weights.data.length !== rows * columns) throw new LowbitError('LOWBIT_SHAPE', { thing: THING, found: `${weights.data.length} values for shape [${rows}, ${columns}]`, expected: `${rows * columns}` })
  if (dtype === 'float32') return
  const exponent = dtype === 'float16' ? 0x7c00 : 0x7f80
  const { data } = weights
  let at = 0
  while (at < data.length && ((data[at] ?? 0) & exponent) !== exponent) at++
  if (at < data.length) throw new LowbitError('LOWBIT_NONFINITE', { thing: THING, found: `a NaN or an infinity at element ${at}`, expected: 'finite values' })
}

/** Codes with levels put in. */
export function plainCodes({ codes, levels }: GroupedTensor): Int8Array | Uint8Array {
  if (levels === undefined) return codes
  const plain = new Int8Array(codes.length)
  for (let i = 0; i < codes.length; i++) plain[i] = levels[codes[i] ?? 0] ?? 0
  return plain
}

/** How far codes reach. */
function reach(plain: Int8Array | Uint8Array): { readonly low: number; readonly high: number } {
  let low = Infinity
  let high = -Infinity
  // By index: an iterator over millions of codes takes longer than packing them.
  for (let i = 0; i < plain.length; i++) {
    const code = plain[i]
    if (code < low) low = code
    if (code > high) high = code
  }
  return { low, high }
}

/** Zero points, if any of them is not the fixed middle. */
function storedZeroPoints(q: QTensor, format: Format): ArrayLike<number> | undefined {
  const zeroPoints = zeroPointsOf(q)
  const plain = format.offset - format.add
  for (const zero of zeroPoints) if (zero !== plain) return zeroPoints
  return undefined
}

/** A matrix of codes as the kernels store it, whatever it came as. */
export interface CodeSource {
  readonly rows: number
  readonly columns: number
  readonly format: Format
  /** One a byte, before `format.add`. */
  readonly codes: Int8Array | Uint8Array
  /** `[rows, groups]`. */
  readonly scales: Table
  readonly zeros: Table | undefined
  /** What to say of codes that are not in the range of their type. */
  readonly outside: () => LowbitError
}

/** Values of `[rows, groups]` where they may be shared: by all groups of a row, or by all rows. */
export interface Table {
  readonly values: ArrayLike<number>
  readonly shared: 'tensor' | 'row' | 'none'
}

/** @throws LOWBIT_UNSUPPORTED, LOWBIT_DTYPE */
export function codeSource(weights: QTensor | GroupedTensor, dots?: Dots): CodeSource {
  const [rows = 0, columns = 0] = weights.shape
  if (isGrouped(weights)) {
    const codes = plainCodes(weights)
    const { low, high } = reach(codes)
    const { minima } = weights
    const format = formatOfGrouped(low, high, weights.group, columns, minima !== undefined, dots)
    return { rows, columns, format, codes, scales: { values: weights.scales, shared: 'none' }, zeros: minima === undefined ? undefined : { values: minima, shared: 'none' }, outside: () => codesOutside(weights) }
  }
  const format = formatOf(weights.scheme, columns, dots)
  const { codes } = weights
  if (codes instanceof Int16Array || codes instanceof Uint16Array) throw new LowbitError('LOWBIT_DTYPE', { thing: `${weights.scheme.dtype} weights for the kernels`, found: 'codes of two bytes', expected: 'one byte a code' })
  const { kind } = weights.scheme.granularity
  const shared = kind === 'tensor' ? 'tensor' : kind === 'channel' ? 'row' : 'none'
  const zeroPoints = storedZeroPoints(weights, format)
  const zeros = zeroPoints === undefined ? undefined : { values: Float32Array.from(zeroPoints, (zero) => zeroOf(format, zero)), shared } as const
  return { rows, columns, format, codes, scales: { values: weights.params.scales, shared }, zeros, outside: () => codesOutside(weights) }
}

/** The value of row `n`, group `g`. */
export function tableAt({ values, shared }: Table, groups: number, n: number, g: number): number {
  return values[shared === 'tensor' ? 0 : shared === 'row' ? n : n * groups + g] ?? 0
}

/** Floats as float32, which changes none of them. */
export function widened(weights: FloatWeights): Float32Array {
  return weights.dtype === 'float32' ? weights.data : weights.dtype === 'float16' ? fromFloat16(weights.data) : fromBfloat16(weights.data)
}

/** @throws LOWBIT_DATA */
function codesOutside(q: QTensor | GroupedTensor): LowbitError {
  if (isGrouped(q)) return new LowbitError('LOWBIT_INTERNAL', { thing: THING, found: 'codes outside the range they were found to have' })
  const { min, max } = isIntegerCode(q.scheme.dtype) ? codeRange(q.scheme.dtype) : { min: 0, max: 0 }
  const at = q.codes.findIndex((code) => code < min || code > max)
  return new LowbitError('LOWBIT_DATA', { thing: `${q.scheme.dtype} weights for the kernels`, found: `code ${q.codes[at]} at element ${at}`, expected: `${min} to ${max}` })
}
