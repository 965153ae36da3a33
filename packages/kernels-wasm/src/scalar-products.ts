import { quantizeGroups, type HostTensor, type PackedWeights } from '@lowbit/core'
import type { Format } from './format.js'

/** Weights as the plain loops read them: one stored code a byte, or floats. */
export interface ScalarMatrix {
  readonly rows: number
  readonly columns: number
  readonly format: Format | undefined
  /** `stored − offset`, or the weights themselves. */
  readonly values: Int16Array | Float32Array
  readonly scales: Float32Array
  readonly zeros: Float32Array | undefined
}

export class ScalarWeights implements PackedWeights {
  readonly rows: number
  readonly columns: number
  readonly bytes: number
  matrix: ScalarMatrix | undefined
  constructor(matrix: ScalarMatrix) {
    this.matrix = matrix
    this.rows = matrix.rows
    this.columns = matrix.columns
    this.bytes = matrix.values.byteLength + matrix.scales.byteLength + (matrix.zeros?.byteLength ?? 0)
  }
  dispose(): void {
    this.matrix = undefined
  }
  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** The value that `dequantize` gives. */
export function weightAt({ format, values, scales, zeros, columns }: ScalarMatrix, n: number, k: number): number {
  const value = values[n * columns + k] ?? 0
  if (format === undefined) return value
  const at = n * format.groups + Math.floor(k / format.groupUsed)
  if (format.minima) return Math.fround(Math.fround(value * (scales[at] ?? 0)) + (zeros?.[at] ?? 0))
  return Math.fround(Math.fround(value + (zeros?.[at] ?? 0)) * (scales[at] ?? 0))
}

/** Rows of floats `[m, K]` × weights. */
export function floatProduct(x: Float32Array, matrix: ScalarMatrix, m: number, bias: Float32Array | undefined, out: Float32Array): void {
  const { rows, columns } = matrix
  const row = new Float32Array(columns)
  for (let n = 0; n < rows; n++) {
    for (let k = 0; k < columns; k++) row[k] = weightAt(matrix, n, k)
    for (let i = 0; i < m; i++) {
      let y = 0
      for (let k = 0; k < columns; k++) y = Math.fround(y + Math.fround((x[i * columns + k] ?? 0) * (row[k] ?? 0)))
      out[i * rows + n] = bias === undefined ? y : y + (bias[n] ?? 0)
    }
  }
}

/** Rows of floats `[m, K]`, quantized one by one or in the groups of the weights, × codes. @throws LOWBIT_NONFINITE */
export function integerProduct(x: HostTensor<'float32'>, matrix: ScalarMatrix, format: Format, activations: 'int8' | 'int8-group', bias: Float32Array | undefined, out: Float32Array): void {
  const { rows, columns, values, scales, zeros } = matrix
  const isGrouped = activations === 'int8-group'
  const { codes, scales: steps } = quantizeGroups(x, isGrouped ? format.groupUsed : columns)
  for (let i = 0; i < out.length; i++) {
    const m = Math.floor(i / rows)
    const n = i % rows
    let y = 0
    for (let g = 0; g < format.groups; g++) {
      let sum = 0
      let total = 0
      for (let k = g * format.groupUsed; k < Math.min((g + 1) * format.groupUsed, columns); k++) {
        const a = codes[m * columns + k] ?? 0
        sum += a * (values[n * columns + k] ?? 0)
        total += a
      }
      const at = n * format.groups + g
      const step = steps[isGrouped ? m * format.groups + g : m] ?? 0
      const term = Math.fround(sum)
      if (format.minima) {
        y = Math.fround(Math.fround(y + Math.fround(Math.fround(term * step) * (scales[at] ?? 0))) + Math.fround((zeros?.[at] ?? 0) * Math.fround(total * step)))
        continue
      }
      const moved = zeros === undefined ? term : Math.fround(term + Math.fround((zeros[at] ?? 0) * total))
      y = Math.fround(y + Math.fround(Math.fround(moved * step) * (scales[at] ?? 0)))
    }
    out[i] = bias === undefined ? y : y + (bias[n] ?? 0)
  }
}
