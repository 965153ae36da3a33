import {
  expectHadamardBlock, LowbitError, quantizeRows, type ActivationCodes, type ActivationOptions, type HadamardOptions, type HostTensor, type KernelProvider, type KernelSupports, type KernelWeights, type MatmulOptions, type PackedTensor, type PackedWeights, type PrepackOptions, type QTensor,
} from '@lowbit/core'
import { USAGE, type Device } from './device.js'
import type { Format } from './format.js'
import { GpuWeights, packMatrix, type PackedMatrix } from './packed-matrix.js'
import type { ShaderPaths, ShaderVariant } from './shaders/common.js'
import { dequantize, floats } from './shaders/floats.js'
import { gemm, GEMM_TILE } from './shaders/gemm.js'
import { gemv, GEMV_THREADS } from './shaders/gemv.js'
import { HADAMARD, HADAMARD_THREADS } from './shaders/hadamard.js'
import { QUANTIZE } from './shaders/quantize.js'
import { VERSION } from './version.js'

/** Workgroups in one direction of a dispatch: what every device allows. */
const MOST_GROUPS = 65535
/** Rows of activations up to which a workgroup a result is used. */
const FEW_ROWS = 4

/** Floats on the device: a {@link GpuTensor}, or a storage buffer of the caller's on the same device. */
export interface GpuInput {
  readonly shape: readonly number[]
  /** Float32, row major. */
  readonly buffer: GPUBuffer
}

/** A result that stays on the device. */
export interface GpuTensor extends GpuInput, Disposable {
  read(): Promise<HostTensor<'float32'>>
  dispose(): void
}

export interface GpuMatmulOptions extends Omit<MatmulOptions, 'bias'> {
  /** `[N]`, added last; a buffer stays the caller's. */
  readonly bias?: Float32Array | GPUBuffer
}

function isTaken(weights: KernelWeights): weights is QTensor | PackedTensor | HostTensor<'float32'> {
  return 'scheme' in weights || ('dtype' in weights && weights.dtype === 'float32')
}

/** Integer kernels in WGSL: see `createWebGpuKernels`. */
export class WebGpuKernels implements KernelProvider {
  readonly kind = 'kernels'
  readonly name = '@lowbit/kernels-webgpu'
  readonly version = VERSION
  readonly apiVersion = 2
  readonly config
  readonly supports: KernelSupports
  readonly #device: Device
  readonly #paths: ShaderPaths
  readonly #none: GPUBuffer
  readonly #destroys: boolean
  #alive = true

  /** @param owned whether `dispose` destroys the device */
  constructor(device: Device, paths: ShaderPaths, supports: KernelSupports, owned: boolean) {
    this.#device = device
    this.#paths = paths
    this.supports = supports
    this.config = { tier: supports.tier, ...paths }
    this.#none = device.upload(new Float32Array(1))
    this.#destroys = owned
  }

  prepack(weights: KernelWeights, { layout }: PrepackOptions = {}): PackedWeights {
    this.#expectAlive()
    if (!isTaken(weights)) {
      const found = 'dtype' in weights ? weights.dtype : 'a GroupedTensor'
      throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'weights for the WebGPU kernels', found, expected: 'a QTensor, a PackedTensor, or float32', fix: 'widen them to float32 (dequantizeGrouped, fromFloat16, fromBfloat16), or use kernels-wasm' })
    }
    return new GpuWeights(packMatrix(weights, this.#device, layout), this.#device)
  }

  async matmul(x: HostTensor<'float32'>, weights: PackedWeights, out?: HostTensor<'float32'>, options: MatmulOptions = {}): Promise<HostTensor<'float32'>> {
    const shape = [...x.shape.slice(0, -1), weights.rows]
    if (out !== undefined && (out.dtype !== 'float32' || out.shape.join() !== shape.join())) throw new LowbitError(out.dtype === 'float32' ? 'LOWBIT_SHAPE' : 'LOWBIT_DTYPE', { thing: 'result', found: `${out.dtype} [${out.shape.join(', ')}]`, expected: `float32 [${shape.join(', ')}]` })
    using result = this.matmulOnDevice(x, weights, options)
    const { data } = await result.read()
    if (out === undefined) return { dtype: 'float32', shape, data }
    out.data.set(data)
    return out
  }

  /**
   * {@link matmul} whose result stays on the device; activations and bias may be there already.
   *
   * Activations from the host are quantized there, to the codes of core's oracle. Those on the device are quantized on the device: a
   * value within a few units in the last place of the middle of two codes may get the other one, and NaN or infinity are not noticed.
   * @throws LOWBIT_SHAPE, LOWBIT_DTYPE, LOWBIT_NONFINITE, LOWBIT_LIMIT, LOWBIT_DISPOSED, LOWBIT_UNSUPPORTED for `int8-group`
   */
  matmulOnDevice(x: HostTensor<'float32'> | GpuInput, weights: PackedWeights, options: GpuMatmulOptions = {}): GpuTensor {
    const matrix = this.#matrix(weights)
    const m = 'buffer' in x ? checkOnDevice(x, matrix) : checkActivations(x, matrix)
    checkBias(options.bias, matrix.rows)
    if (options.activations === 'int8-group') throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'activations', found: options.activations, expected: 'int8 or float32', fix: '@lowbit/kernels-wasm has it' })
    const own: GPUBuffer[] = []
    const keep = (buffer: GPUBuffer): GPUBuffer => {
      own.push(buffer)
      return buffer
    }
    const result = this.#device.buffer(m * matrix.rows * 4, USAGE.STORAGE | USAGE.COPY_SRC)
    try {
      const { bias } = options
      const added = bias === undefined ? this.#none : bias instanceof Float32Array ? keep(this.#device.upload(Float32Array.from(bias))) : bias
      if (matrix.format === undefined || options.activations === 'float32') {
        const values = 'buffer' in x ? x.buffer : keep(this.#device.upload(Float32Array.from(x.data)))
        const kind = matrix.format?.kind ?? 32
        this.#run('floats', matrix, (variant) => floats(kind, variant), params(matrix, m, bias !== undefined), [values, added], result, grid(matrix.rows, m))
      } else {
        const { kind } = matrix.format
        const activations = 'buffer' in x ? this.#quantizeThere(x.buffer, matrix, matrix.format, m) : this.#quantizeHere(x, matrix, matrix.format, m)
        activations.forEach(keep)
        const few = m <= FEW_ROWS
        const groups: [number, number, number] = few ? grid(matrix.rows, m) : [Math.ceil(matrix.rows / GEMM_TILE), Math.ceil(m / GEMM_TILE), 1]
        this.#run(few ? 'gemv' : 'gemm', matrix, (variant) => (few ? gemv : gemm)(kind, variant), params(matrix, m, bias !== undefined), [...activations, added], result, groups)
      }
    } catch (error) {
      result.destroy()
      throw error
    } finally {
      for (const buffer of own) buffer.destroy()
    }
    return this.#tensor([...x.shape.slice(0, -1), matrix.rows], result)
  }

  /** A shader over a matrix: bindings are the matrix, then `reads`, then the result. */
  #run(name: string, matrix: PackedMatrix, code: (variant: ShaderVariant) => string, uniform: Uint32Array<ArrayBuffer>, reads: readonly GPUBuffer[], result: GPUBuffer, groups: readonly [number, number, number]): void {
    const variant = { ...this.#paths, half: matrix.half }
    const key = `${name} ${matrix.format?.kind ?? 32} ${variant.half ? 'half' : 'float'}`
    this.#device.dispatch(key, () => code(variant), uniform, [matrix.codes, matrix.scales, matrix.zeros ?? this.#none, ...reads], [result], groups)
  }

  /** Codes, sums of groups, scales. */
  #quantizeHere(x: HostTensor<'float32'>, { columns }: PackedMatrix, format: Format, m: number): GPUBuffer[] {
    const { codes, scales } = quantizeRows(x)
    const { padded, sums } = arrange(codes as Int8Array, m, columns, format)
    return [this.#device.upload(padded), this.#device.upload(sums), this.#device.upload(Float32Array.from(scales))]
  }

  #quantizeThere(x: GPUBuffer, matrix: PackedMatrix, { groups, group }: Format, m: number): GPUBuffer[] {
    const made = [m * groups * group, m * groups * 4, m * 4].map((bytes) => this.#device.buffer(bytes, USAGE.STORAGE))
    this.#device.dispatch('quantize', () => QUANTIZE, params(matrix, m, false), [x], made, [m, 1, 1])
    return made
  }

  /** On the host: the division and the rounding of codes are exact there, and not promised by WGSL. */
  async quantizeActivations(x: HostTensor<'float32'>, options?: ActivationOptions): Promise<ActivationCodes> {
    this.#expectAlive()
    return quantizeRows(x, options)
  }

  async dequantize(weights: PackedWeights): Promise<HostTensor<'float32'>> {
    const matrix = this.#matrix(weights)
    const kind = matrix.format?.kind ?? 32
    const result = this.#device.buffer(matrix.rows * matrix.columns * 4, USAGE.STORAGE | USAGE.COPY_SRC)
    this.#run('dequantize', matrix, (variant) => dequantize(kind, variant), params(matrix, 1, false), [this.#none, this.#none], result, grid(matrix.rows, 1))
    using tensor = this.#tensor([matrix.rows, matrix.columns], result)
    return await tensor.read()
  }

  async hadamard(x: HostTensor<'float32'>, options: HadamardOptions = {}): Promise<HostTensor<'float32'>> {
    this.#expectAlive()
    const block = options.block ?? x.shape[x.shape.length - 1] ?? 1
    expectHadamardBlock(x, block)
    const values = this.#device.upload(Float32Array.from(x.data), USAGE.STORAGE | USAGE.COPY_SRC)
    using tensor = this.#tensor(x.shape, values)
    const pairs = x.data.length / 2
    for (let half = 1; half < block; half *= 2) {
      const uniform = new DataView(new ArrayBuffer(16))
      uniform.setUint32(0, pairs, true)
      uniform.setUint32(4, half, true)
      uniform.setFloat32(8, half * 2 === block ? 1 / Math.sqrt(block) : 1, true)
      this.#device.dispatch('hadamard', () => HADAMARD, uniform, [], [values], grid(Math.ceil(pairs / HADAMARD_THREADS), 1))
    }
    return await tensor.read()
  }

  dispose(): void {
    if (!this.#alive) return
    this.#alive = false
    this.#none.destroy()
    if (this.#destroys) this.#device.gpu.destroy()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #tensor(shape: readonly number[], buffer: GPUBuffer): GpuTensor {
    const device = this.#device
    const count = shape.reduce((product, size) => product * size, 1)
    return {
      shape,
      buffer,
      async read() {
        return { dtype: 'float32', shape, data: await device.read(buffer, count) }
      },
      dispose: () => buffer.destroy(),
      [Symbol.dispose]: () => buffer.destroy(),
    }
  }

  #expectAlive(): void {
    if (!this.#alive) throw disposed('kernel provider')
    this.#device.expectAlive()
  }

  #matrix(weights: PackedWeights): PackedMatrix {
    this.#expectAlive()
    const matrix = weights instanceof GpuWeights ? weights.matrixOn(this.#device) : undefined
    if (matrix === undefined) throw disposed('packed weights (or weights of another provider)')
    return matrix
  }
}

function disposed(thing: string): LowbitError {
  return new LowbitError('LOWBIT_DISPOSED', { thing, found: 'used after dispose()', fix: 'keep it alive for as long as it is used' })
}

/** Rows M. @throws LOWBIT_DTYPE, LOWBIT_SHAPE */
function checkActivations(x: HostTensor<'float32'>, { rows, columns }: PackedMatrix): number {
  if (x.dtype !== 'float32' || !(x.data instanceof Float32Array)) throw new LowbitError('LOWBIT_DTYPE', { thing: 'activations', found: String(x.dtype), expected: 'float32' })
  const m = x.data.length / columns
  if (x.shape[x.shape.length - 1] !== columns || x.shape.reduce((a, b) => a * b, 1) !== x.data.length || m < 1) throw new LowbitError('LOWBIT_SHAPE', { thing: 'activations', found: `${x.data.length} values for shape [${x.shape.join(', ')}]`, expected: `[…, ${columns}]: weights are [${rows}, ${columns}]` })
  return checkRows(m)
}

/** The same for activations on the device. @throws LOWBIT_SHAPE */
function checkOnDevice({ shape, buffer }: GpuInput, { rows, columns }: PackedMatrix): number {
  const count = shape.reduce((product, size) => product * size, 1)
  if (shape[shape.length - 1] !== columns || count === 0) throw new LowbitError('LOWBIT_SHAPE', { thing: 'activations', found: `shape [${shape.join(', ')}]`, expected: `[…, ${columns}]: weights are [${rows}, ${columns}]` })
  if (buffer.size < count * 4 || (buffer.usage & USAGE.STORAGE) === 0) throw new LowbitError('LOWBIT_SHAPE', { thing: 'activations', found: `a buffer of ${buffer.size} bytes${buffer.usage & USAGE.STORAGE ? '' : ' without GPUBufferUsage.STORAGE'}`, expected: `a storage buffer of ${count * 4} bytes` })
  return checkRows(count / columns)
}

function checkRows(m: number): number {
  if (m > MOST_GROUPS) throw new LowbitError('LOWBIT_LIMIT', { thing: 'activations', found: `${m} rows`, expected: `at most ${MOST_GROUPS} in one product`, fix: 'split them' })
  return m
}

/** @throws LOWBIT_SHAPE */
function checkBias(bias: Float32Array | GPUBuffer | undefined, rows: number): void {
  if (bias === undefined) return
  const count = bias instanceof Float32Array ? bias.length : bias.size / 4
  if (bias instanceof Float32Array ? count !== rows : count < rows || (bias.usage & USAGE.STORAGE) === 0) throw new LowbitError('LOWBIT_SHAPE', { thing: 'bias', found: `${count} values`, expected: bias instanceof Float32Array ? `${rows}` : `a storage buffer of ${rows}` })
}

/** `[x, y, z]` with x · y at least `count`: a matrix may have more rows than one direction of a dispatch takes. */
function grid(count: number, m: number): [number, number, number] {
  const y = Math.ceil(count / MOST_GROUPS)
  return [Math.ceil(count / y), y, m]
}

/** Codes in padded groups, and the sum of each group. */
function arrange(codes: Int8Array, m: number, columns: number, { used, group, groups }: Format): { padded: Int8Array<ArrayBuffer>; sums: Int32Array<ArrayBuffer> } {
  const padded = new Int8Array(m * groups * group)
  const sums = new Int32Array(m * groups)
  for (let i = 0; i < m * groups; i++) {
    const from = (i % groups) * used
    const row = Math.floor(i / groups) * columns
    const part = codes.subarray(row + from, row + Math.min(from + used, columns))
    padded.set(part, i * group)
    sums[i] = part.reduce((sum, code) => sum + code, 0)
  }
  return { padded, sums }
}

/** The uniform of `shaders/common.ts`. */
function params({ rows, columns, format, zeros }: PackedMatrix, m: number, hasBias: boolean): Uint32Array<ArrayBuffer> {
  const added = hasBias ? 1 : 0
  if (format === undefined) return Uint32Array.of(m, rows, columns, 1, columns, 0, 0, 0, 1, 0, added, 0)
  const { group, groups, used, kind, offset } = format
  const codeWords = (group * kind) / 32
  let lanes = 1
  while (lanes * 2 <= codeWords && lanes * 2 * groups <= GEMV_THREADS) lanes *= 2
  return Uint32Array.of(m, rows, columns, groups, used, group / 4, codeWords, offset, lanes, zeros === undefined ? 0 : 1, added, 0)
}
