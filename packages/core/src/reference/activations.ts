import type { ActivationCodes, ActivationOptions } from '../contract/v2/kernels.js'
import { LowbitError } from '../errors.js'
import type { HostTensor } from '../tensor.js'
import { dynamicQuantizeLinear } from './affine.js'
import { roundHalfEven } from './round.js'

/** An absolute maximum below this counts as this, so that 127 / absmax stays a float32. */
const LEAST_ABSMAX = 2 ** -100

/**
 * Dynamic activation codes as every kernel makes them. Symmetric: `scale = fl(absmax / 127)`,
 * `code = rint(fl(x · fl(127 / absmax)))`, −127 to 127. Asymmetric: ONNX DynamicQuantizeLinear.
 * @throws LOWBIT_NONFINITE naming the row
 */
export function quantizeRows(x: HostTensor<'float32'>, options: ActivationOptions = {}): ActivationCodes {
  const { granularity = 'token', symmetric = true } = options
  const columns = x.shape[x.shape.length - 1] ?? 1
  const along = granularity === 'token' ? columns : x.data.length
  const rows = along === 0 ? 0 : x.data.length / along
  const codes = symmetric ? new Int8Array(x.data.length) : new Uint8Array(x.data.length)
  const scales = new Float32Array(rows)
  const zeroPoints = new Int32Array(rows)
  for (let row = 0; row < rows; row++) {
    const values = x.data.subarray(row * along, (row + 1) * along)
    expectFiniteRow(values, row)
    if (symmetric) {
      const absmax = Math.max(LEAST_ABSMAX, values.reduce((top, v) => Math.max(top, Math.abs(v)), 0))
      const inverse = Math.fround(127 / absmax)
      scales[row] = absmax / 127
      for (let i = 0; i < along; i++) codes[row * along + i] = roundHalfEven(Math.fround((values[i] ?? 0) * inverse))
    } else {
      const quantized = dynamicQuantizeLinear(values)
      codes.set(quantized.codes, row * along)
      scales[row] = quantized.scale
      zeroPoints[row] = quantized.zeroPoint
    }
  }
  return symmetric ? { codes, scales } : { codes, scales, zeroPoints }
}

/**
 * Symmetric codes as of {@link quantizeRows}, each `group` values of a row (and what is left of it) with a scale of their own:
 * `scales` is `[M, ceil(K / group)]`.
 * @throws LOWBIT_NONFINITE naming the row
 */
export function quantizeGroups(x: HostTensor<'float32'>, group: number): ActivationCodes {
  const columns = x.shape[x.shape.length - 1] ?? 1
  if (group >= columns) return quantizeRows(x)
  const rows = x.data.length / columns
  const groups = Math.ceil(columns / group)
  const codes = new Int8Array(x.data.length)
  const scales = new Float32Array(rows * groups)
  for (let row = 0; row < rows; row++) {
    expectFiniteRow(x.data.subarray(row * columns, (row + 1) * columns), row)
    for (let g = 0; g < groups; g++) {
      const from = row * columns + g * group
      const data = x.data.slice(from, Math.min(from + group, (row + 1) * columns))
      const part = quantizeRows({ dtype: 'float32', shape: [1, data.length], data })
      codes.set(part.codes, from)
      scales.set(part.scales, row * groups + g)
    }
  }
  return { codes, scales }
}

/** `code · scale` of such codes, in double precision. */
export function roundedGroups(x: HostTensor<'float32'>, group: number): Float64Array<ArrayBuffer> {
  const columns = x.shape[x.shape.length - 1] ?? 1
  const each = Math.min(group, columns)
  const groups = Math.ceil(columns / each)
  const { codes, scales } = quantizeGroups(x, each)
  return Float64Array.from(codes, (code, i) => code * (scales[Math.floor(i / columns) * groups + Math.floor((i % columns) / each)] ?? 0))
}

function expectFiniteRow(values: Float32Array, row: number): void {
  const at = values.findIndex((v) => !Number.isFinite(v))
  if (at >= 0) throw new LowbitError('LOWBIT_NONFINITE', { thing: `activation row ${row}`, found: `${values[at] ?? NaN} at column ${at}`, expected: 'finite values', fix: "activations: 'float32' lets them through" })
}
