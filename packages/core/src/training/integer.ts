import { LowbitError } from '../errors.js'
import type { QTensor } from '../qtensor.js'
import { middleCode } from '../reference/codes.js'

/** Activations as a deployed layer sees them: codes `[M, K]`, one scale and zero point a row. */
export interface QuantizedRows {
  readonly codes: ArrayLike<number>
  readonly rows: number
  /** `[M]`, or one for all rows. */
  readonly scales: ArrayLike<number>
  /** As `scales`; absent: 0. */
  readonly zeroPoints?: ArrayLike<number>
}

export interface IntegerProduct {
  /** `[M, N, G]`: sums of `(qx - zx) · qw` over each of the G groups along K. */
  readonly accumulators: Int32Array
  /** `[M, N]`. */
  readonly values: Float32Array
  readonly groups: number
}

/**
 * The deployed model's matrix product: int32 sums of codes, scaled afterwards, `sx · Σ_g sw · (acc - zw · Σ(qx - zx)) + b`.
 * Slow and exact: the oracle that kernels and `prepare = convert` are tested with.
 *
 * @param weight `[N, K]` per tensor, per channel (axis 0) or in groups along K
 * @throws LOWBIT_SHAPE if K differs, LOWBIT_UNSUPPORTED for other granularities, LOWBIT_LIMIT if a sum leaves int32.
 */
export function integerMatmul(x: QuantizedRows, weight: QTensor, bias?: ArrayLike<number>): IntegerProduct {
  const [n, k] = weight.shape
  const g = weight.scheme.granularity
  if (weight.shape.length !== 2 || x.codes.length !== x.rows * k) {
    throw new LowbitError('LOWBIT_SHAPE', { thing: 'integer matmul', found: `${x.codes.length} activation codes in ${x.rows} rows, weight [${weight.shape.join(', ')}]`, expected: 'x [M, K] and weight [N, K]' })
  }
  if (g.kind === 'token' || (g.kind === 'channel' && g.axis !== 0) || (g.kind === 'group' && g.axis !== 1)) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'integer matmul', found: `granularity ${g.kind}`, expected: 'tensor, channel along N, or group along K' })
  }
  const size = g.kind === 'group' ? g.size : Math.max(k, 1)
  const groups = Math.ceil(k / size)
  const parameter = (row: number, group: number): number => (g.kind === 'tensor' ? 0 : g.kind === 'channel' ? row : row * groups + group)
  const { scales, zeroPoints } = weight.params
  const middle = middleCode(weight.scheme.dtype)
  const accumulators = new Int32Array(x.rows * n * groups)
  const values = new Float32Array(x.rows * n)
  for (let m = 0; m < x.rows; m++) {
    const scale = x.scales.length === 1 ? x.scales[0] : x.scales[m]
    const zero = x.zeroPoints === undefined ? 0 : x.zeroPoints.length === 1 ? x.zeroPoints[0] : x.zeroPoints[m]
    for (let row = 0; row < n; row++) {
      let total = 0
      for (let group = 0; group < groups; group++) {
        let sum = 0
        let inputs = 0
        for (let i = group * size; i < Math.min(k, (group + 1) * size); i++) {
          const code = x.codes[m * k + i] - zero
          sum += code * weight.codes[row * k + i]
          inputs += code
        }
        const at = (m * n + row) * groups + group
        accumulators[at] = sum
        if (accumulators[at] !== sum) throw new LowbitError('LOWBIT_LIMIT', { thing: `integer matmul, row ${row}`, found: `a sum of ${sum}`, expected: 'sums that fit int32', fix: 'use groups along K' })
        const p = parameter(row, group)
        total += scales[p] * (sum - (zeroPoints?.[p] ?? middle) * inputs)
      }
      values[m * n + row] = scale * total + (bias?.[row] ?? 0)
    }
  }
  return { accumulators, values, groups }
}

/**
 * How far a prepared layer's float32 output may lie from the integer one: the rounding of a product of K terms,
 * `(K + 4) · 2^-24 · Σ|x̂ŵ|`, for each output element.
 * @param x dequantized activations `[M, K]`
 * @param w dequantized weights `[N, K]`
 */
export function productBound(x: ArrayLike<number>, w: ArrayLike<number>, rows: number, n: number, k: number): Float64Array {
  const bound = new Float64Array(rows * n)
  for (let m = 0; m < rows; m++) {
    for (let row = 0; row < n; row++) {
      let sum = 0
      for (let i = 0; i < k; i++) sum += Math.abs(x[m * k + i] * w[row * k + i])
      bound[m * n + row] = (k + 4) * 2 ** -24 * sum
    }
  }
  return bound
}
