import { LowbitError } from '../errors.js'
import type { QTensor } from '../qtensor.js'
import type { HostTensor } from '../tensor.js'
import { dequantize } from './dequantize.js'

/**
 * `x [M, K] × wᵀ [K, N]` with dequantized weights, sums in float64: what every kernel is measured against.
 * @param bias `[N]`, added last
 * @throws LOWBIT_SHAPE if K differs
 */
export function referenceMatmul(x: HostTensor<'float32'>, weight: QTensor | HostTensor<'float32'>, bias?: Float32Array): HostTensor<'float32'> {
  const w = 'codes' in weight ? dequantize(weight) : weight
  const [rows = 0, columns = 0] = w.shape
  const samples = x.data.length / Math.max(columns, 1)
  if (w.shape.length !== 2 || x.shape[x.shape.length - 1] !== columns) {
    throw new LowbitError('LOWBIT_SHAPE', { thing: 'matmul', found: `x [${x.shape.join(', ')}] and weight [${w.shape.join(', ')}]`, expected: 'x [M, K] and weight [N, K]' })
  }
  const data = new Float32Array(samples * rows)
  for (let m = 0; m < samples; m++) {
    for (let n = 0; n < rows; n++) {
      let sum = bias?.[n] ?? 0
      for (let k = 0; k < columns; k++) sum += (x.data[m * columns + k] ?? 0) * (w.data[n * columns + k] ?? 0)
      data[m * rows + n] = sum
    }
  }
  return { dtype: 'float32', shape: [...x.shape.slice(0, -1), rows], data }
}
