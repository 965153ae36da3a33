import {
  expectHadamardBlock, quantizeRows, type ActivationCodes, type ActivationOptions, type HadamardOptions, type HostTensor, type KernelSupports, type KernelWeights, type MatmulOptions, type PackedWeights, type SyncKernelProvider,
} from '@lowbit/core'
import { checkFloats, checkProduct, disposed } from './checks.js'
import type { Format } from './format.js'
import { ROUNDINGS } from './roundings.js'
import { VERSION } from './version.js'
import { codeSource, isCoded, isGrouped, readWeights, tableAt, widened } from './weights.js'
import { SCHEMES } from './format.js'

/** Weights as the plain loops read them: one stored code a byte, or floats. */
interface ScalarMatrix {
  readonly rows: number
  readonly columns: number
  readonly format: Format | undefined
  /** `stored − offset`, or the weights themselves. */
  readonly values: Int16Array | Float32Array
  readonly scales: Float32Array
  readonly zeros: Float32Array | undefined
}

class ScalarWeights implements PackedWeights {
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

/**
 * The last resort, where there is no WebAssembly SIMD: plain loops that round exactly as the SIMD kernels do
 * (see `assembly/output.ts` and `assembly/floats.ts`), so that all tiers give the same bits.
 */
export class ScalarKernels implements SyncKernelProvider {
  readonly kind = 'kernels'
  readonly name = '@lowbit/kernels-wasm'
  readonly version = VERSION
  readonly apiVersion = 2
  readonly config = { tier: 'scalar', threads: 1 }
  readonly supports: KernelSupports
  #alive = true

  constructor(findings: readonly string[] = []) {
    this.supports = { tier: 'scalar', threads: 1, synchronous: true, reproducible: 'rows', schemes: SCHEMES, findings, ...ROUNDINGS }
  }

  prepack(source: KernelWeights): PackedWeights {
    this.#expectAlive()
    const weights = readWeights(source)
    const [rows = 0, columns = 0] = weights.shape
    if (!isGrouped(weights) && !isCoded(weights)) return new ScalarWeights({ rows, columns, format: undefined, values: Float32Array.from(widened(weights)), scales: new Float32Array(), zeros: undefined })
    const { codes, format, scales, zeros, outside } = codeSource(weights)
    const values = Int16Array.from(codes, (code) => code + format.add - format.offset)
    if (values.some((v) => v + format.offset < (format.kind === 8 ? -128 : 0) || v + format.offset > (format.kind === 8 ? 127 : format.top))) throw outside()
    const table = (of: typeof scales): Float32Array => Float32Array.from({ length: rows * format.groups }, (_, i) => tableAt(of, format.groups, Math.floor(i / format.groups), i % format.groups))
    return new ScalarWeights({ rows, columns, format, values, scales: table(scales), zeros: zeros === undefined ? undefined : table(zeros) })
  }

  matmul(x: HostTensor<'float32'>, weights: PackedWeights, out?: HostTensor<'float32'>, options: MatmulOptions = {}): HostTensor<'float32'> {
    const matrix = this.#matrix(weights)
    const product = checkProduct(x, weights, out, options)
    if (matrix.format === undefined || options.activations === 'float32') floatProduct(x.data, matrix, product.rows, options.bias, product.out.data)
    else integerProduct(x, matrix, matrix.format, options.bias, product.out.data)
    return product.out
  }

  quantizeActivations(x: HostTensor<'float32'>, options?: ActivationOptions): ActivationCodes {
    this.#expectAlive()
    checkFloats(x, 'activations')
    return quantizeRows(x, options)
  }

  dequantize(weights: PackedWeights): HostTensor<'float32'> {
    const matrix = this.#matrix(weights)
    const { rows, columns } = matrix
    return { dtype: 'float32', shape: [rows, columns], data: Float32Array.from({ length: rows * columns }, (_, i) => weightAt(matrix, Math.floor(i / columns), i % columns)) }
  }

  hadamard(x: HostTensor<'float32'>, options: HadamardOptions = {}): HostTensor<'float32'> {
    this.#expectAlive()
    checkFloats(x, 'values to transform')
    const block = options.block ?? x.shape[x.shape.length - 1] ?? 1
    expectHadamardBlock(x, block)
    const data = Float32Array.from(x.data)
    for (let half = 1; half < block; half *= 2) {
      for (let i = 0; i < data.length; i++) {
        if ((i & half) !== 0) continue
        const a = data[i] ?? 0
        const b = data[i + half] ?? 0
        data[i] = a + b
        data[i + half] = a - b
      }
    }
    const scale = Math.fround(1 / Math.sqrt(block))
    return { dtype: 'float32', shape: x.shape, data: block === 1 ? data : data.map((v) => v * scale) }
  }

  dispose(): void {
    this.#alive = false
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #expectAlive(): void {
    if (!this.#alive) throw disposed('kernel provider')
  }

  #matrix(weights: PackedWeights): ScalarMatrix {
    this.#expectAlive()
    const matrix = weights instanceof ScalarWeights ? weights.matrix : undefined
    if (matrix === undefined) throw disposed('packed weights (or weights of another provider)')
    return matrix
  }
}

function weightAt({ format, values, scales, zeros, columns }: ScalarMatrix, n: number, k: number): number {
  const value = values[n * columns + k] ?? 0
  if (format === undefined) return value
  const at = n * format.groups + Math.floor(k / format.groupUsed)
  if (format.minima) return Math.fround(Math.fround(value * (scales[at] ?? 0)) + (zeros?.[at] ?? 0))
  return Math.fround(Math.fround(value + (zeros?.[at] ?? 0)) * (scales[at] ?? 0))
}

function floatProduct(x: Float32Array, matrix: ScalarMatrix, m: number, bias: Float32Array | undefined, out: Float32Array): void {
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

function integerProduct(x: HostTensor<'float32'>, matrix: ScalarMatrix, format: Format, bias: Float32Array | undefined, out: Float32Array): void {
  const { rows, columns, values, scales, zeros } = matrix
  const { codes, scales: actScales } = quantizeRows(x)
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
      let term = Math.fround(sum)
      if (format.minima) {
        y = Math.fround(Math.fround(y + Math.fround(term * (scales[at] ?? 0))) + Math.fround((zeros?.[at] ?? 0) * total))
        continue
      }
      if (zeros !== undefined) term = Math.fround(term + Math.fround((zeros[at] ?? 0) * total))
      y = Math.fround(y + Math.fround(term * (scales[at] ?? 0)))
    }
    y = Math.fround(y * (actScales[m] ?? 0))
    out[i] = bias === undefined ? y : y + (bias[n] ?? 0)
  }
}
