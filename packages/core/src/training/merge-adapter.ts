import { LowbitError } from '../errors.js'
import type { HostTensor } from '../tensor.js'

/**
 * `W + scale · up·down`, each value rounded to float32 once.
 * @param weight `[N, K]`
 * @param down `[rank, K]`
 * @param up `[N, rank]`
 * @throws LOWBIT_SHAPE if they do not fit each other
 */
export function mergeAdapter(weight: HostTensor<'float32'>, down: Float32Array, up: Float32Array, scale: number): HostTensor<'float32'> {
  const [rows, columns] = weight.shape
  const rank = up.length / rows
  if (!Number.isInteger(rank) || down.length !== rank * columns) throw new LowbitError('LOWBIT_SHAPE', { thing: 'adapter', found: `${down.length} and ${up.length} values for [${rows}, ${columns}]`, expected: '[rank, K] and [N, rank]' })
  const data = new Float32Array(weight.data.length)
  const sums = new Float64Array(columns)
  for (let n = 0; n < rows; n++) {
    sums.fill(0)
    for (let r = 0; r < rank; r++) {
      const factor = up[n * rank + r]
      for (let k = 0; k < columns; k++) sums[k] += factor * down[r * columns + k]
    }
    for (let k = 0; k < columns; k++) data[n * columns + k] = weight.data[n * columns + k] + scale * sums[k]
  }
  return { dtype: 'float32', shape: weight.shape, data }
}
