import {
  expectHadamardBlock, quantizeRows, type ActivationCodes, type ActivationOptions, type HadamardOptions, type HostTensor, type KernelSupports, type KernelWeights, type MatmulOptions, type PackedWeights, type PrepackOptions, type SyncKernelProvider, type SyncProgramCompiler,
} from '@lowbit/core'
import { SCHEMES } from './format.js'
import { checkFloats, checkProduct, disposed } from './checks.js'
import { scalarPrograms } from './program/scalar-program.js'
import { ACTIVATIONS, PROGRAMS } from './program/supports.js'
import { ROUNDINGS } from './roundings.js'
import { floatProduct, integerProduct, ScalarWeights, weightAt, type ScalarMatrix } from './scalar-products.js'
import { codeSource, isCoded, isGrouped, readWeights, tableAt, widened } from './weights.js'
import { VERSION } from './version.js'

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
  readonly programs: SyncProgramCompiler = scalarPrograms(() => this.#alive)
  #alive = true

  constructor(findings: readonly string[] = []) {
    this.supports = { tier: 'scalar', threads: 1, synchronous: true, reproducible: 'rows', schemes: SCHEMES, activations: ACTIVATIONS, programs: PROGRAMS, findings, ...ROUNDINGS }
  }

  prepack(source: KernelWeights, { layout }: PrepackOptions = {}): PackedWeights {
    this.#expectAlive()
    const weights = readWeights(source, layout)
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
    else integerProduct(x, matrix, matrix.format, options.activations ?? 'int8', options.bias, product.out.data)
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
