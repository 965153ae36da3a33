import {
  expectHadamardBlock, quantizeRows, type ActivationCodes, type ActivationOptions, type HadamardOptions, type HostTensor, type KernelSupports, type KernelWeights, type MatmulOptions, type PackedWeights, type PrepackOptions, type RowForm, type RowPacker, type SyncKernelProvider, type SyncProgramCompiler,
} from '@lowbit/core'
import { checkFloats, checkProduct, disposed, notFinite } from './checks.js'
import { BLOCK_ROWS, isFloat, jobKind, type Dots } from './format.js'
import { HEAP_START, type KernelExports } from './instance.js'
import { JOB_WORDS, writeJob } from './job.js'
import { Heap, type Piece } from './memory.js'
import { unpackValues, WasmWeights, type PackedMatrix } from './packed-matrix.js'
import type { Pool } from './pool.js'
import { wasmPrograms } from './program/wasm-program.js'
import { CodePacker, FloatPacker, WasmRowPacker, type PackEngine } from './row-packer.js'
import { VERSION } from './version.js'
import { codeSource, isCoded, isGrouped, readWeights } from './weights.js'

/** Products below this many operations are not worth waking threads for. */
const THREAD_WORK = 2 ** 20

/** A running module and what goes with it. */
export interface WasmEngine {
  readonly exports: KernelExports
  readonly memory: WebAssembly.Memory
  readonly supports: KernelSupports
  readonly pool: Pool | undefined
  /** What the probe found. */
  readonly dots: Dots
}

/** Where the parts of one product lie, all in one piece of memory. */
interface Workspace {
  readonly job: number
  readonly x: number
  readonly act: number
  readonly actStride: number
  readonly init: number
  readonly initStride: number
  readonly ends: number
  readonly bias: number
  readonly out: number
  readonly outStride: number
  readonly scratch: number
  readonly scratchStride: number
  readonly split: number
}

/** Rows, columns and results from which seven products of half the size cost less than eight (measured): see `assembly/gemm-strassen.ts`. */
const STRASSEN = { rows: 32, columns: 256, blocks: 2 } as const

const eight = (m: number): number => Math.ceil(m / 8) * 8
const line = (bytes: number): number => Math.ceil(bytes / 64) * 64

/** The SIMD tiers: see `createWasmKernels`. */
export class WasmKernels implements SyncKernelProvider {
  readonly kind = 'kernels'
  readonly name = '@lowbit/kernels-wasm'
  readonly version = VERSION
  readonly apiVersion = 2
  readonly config
  readonly supports: KernelSupports
  readonly programs: SyncProgramCompiler
  readonly #exports: KernelExports
  readonly #memory: WebAssembly.Memory
  readonly #pool: Pool | undefined
  readonly #dots: Dots
  readonly #heap: Heap
  #space: Piece | undefined
  #alive = true

  constructor(engine: WasmEngine) {
    this.supports = engine.supports
    this.config = { tier: engine.supports.tier, threads: engine.supports.threads }
    this.#exports = engine.exports
    this.#memory = engine.memory
    this.#pool = engine.pool
    this.#dots = engine.dots
    this.#heap = new Heap(engine.memory, HEAP_START)
    this.programs = wasmPrograms({ ...engine, heap: this.#heap, alive: () => this.#alive })
  }

  prepack(source: KernelWeights, { layout }: PrepackOptions = {}): PackedWeights {
    this.#expectAlive()
    const weights = readWeights(source, layout)
    const [rows = 0, columns = 0] = weights.shape
    if (!isGrouped(weights) && !isCoded(weights)) {
      const packer = new FloatPacker(rows, columns, weights.dtype, this.#packing)
      packer.add(weights.data, rows)
      return new WasmWeights(packer.finish(), this.#heap)
    }
    const coded = codeSource(weights, this.#dots)
    const packer = new CodePacker(rows, columns, coded.format, coded.zeros !== undefined, coded.outside, this.#packing)
    try {
      packer.add(coded, rows)
      return new WasmWeights(packer.finish(), this.#heap)
    } finally {
      packer.close()
    }
  }

  packRows(shape: readonly [number, number], form: RowForm): RowPacker {
    this.#expectAlive()
    return new WasmRowPacker(shape, form, this.#dots, this.#packing)
  }

  get #packing(): PackEngine {
    return { heap: this.#heap, memory: this.#memory, exports: this.#exports }
  }

  matmul(x: HostTensor<'float32'>, weights: PackedWeights, out?: HostTensor<'float32'>, options: MatmulOptions = {}): HostTensor<'float32'> {
    const matrix = this.#matrix(weights)
    const product = checkProduct(x, weights, out, options)
    const floats = isFloat(matrix.format) || options.activations === 'float32'
    const space = this.#workspace(matrix, product.rows, floats)
    const f32 = new Float32Array(this.#memory.buffer)
    f32.set(x.data, space.x / 4)
    if (options.bias !== undefined) f32.set(options.bias, space.bias / 4)
    writeJob(new Int32Array(this.#memory.buffer), space.job, {
      ...space, ...matrix.format, kind: jobKind(matrix.format), minima: matrix.format.minima ? 1 : 0, m: product.rows, columns: matrix.columns, codes: matrix.codes.at, blockBytes: matrix.blockBytes,
      scales: matrix.scales?.at ?? 0, zeros: matrix.zeros?.at ?? 0, actGroups: options.activations === 'int8-group' ? 1 : 0, xStride: matrix.columns * 4, bias: options.bias === undefined ? 0 : space.bias,
    })
    if (!floats) {
      const bad = this.#exports.quantizeRows(space.job, space.scratch)
      if (bad !== 0) throw notFinite(x, bad - 1)
    }
    this.#multiply(space, matrix, floats, product.rows)
    const { data } = product.out
    const n = matrix.rows
    for (let m = 0; m < product.rows; m++) data.set(f32.subarray((space.out + m * space.outStride) / 4, (space.out + m * space.outStride) / 4 + n), m * n)
    return product.out
  }

  #multiply(space: Workspace, matrix: PackedMatrix, floats: boolean, rows: number): void {
    const { blocks } = matrix
    if (this.#pool !== undefined && 2 * rows * matrix.rows * matrix.columns >= THREAD_WORK && blocks >= this.#pool.threads) {
      this.#pool.run({ job: space.job, floats, blocks, scratch: space.scratch, scratchStride: space.scratchStride })
    } else if (floats) this.#exports.multiplyByFloats(space.job, 0, blocks, space.scratch)
    else this.#exports.multiply(space.job, 0, blocks, space.scratch)
  }

  quantizeActivations(x: HostTensor<'float32'>, options?: ActivationOptions): ActivationCodes {
    this.#expectAlive()
    checkFloats(x, 'activations')
    return quantizeRows(x, options)
  }

  dequantize(weights: PackedWeights): HostTensor<'float32'> {
    const matrix = this.#matrix(weights)
    return { dtype: 'float32', shape: [matrix.rows, matrix.columns], data: unpackValues(matrix, this.#memory) }
  }

  hadamard(x: HostTensor<'float32'>, options: HadamardOptions = {}): HostTensor<'float32'> {
    this.#expectAlive()
    checkFloats(x, 'values to transform')
    const block = options.block ?? x.shape[x.shape.length - 1] ?? 1
    expectHadamardBlock(x, block)
    if (block < 4) return { dtype: 'float32', shape: x.shape, data: smallHadamard(x.data, block) }
    const piece = this.#heap.take(x.data.length * 4)
    try {
      const values = new Float32Array(this.#memory.buffer, piece.at, x.data.length)
      values.set(x.data)
      this.#exports.hadamardRows(piece.at, x.data.length / block, block, 1 / Math.sqrt(block))
      return { dtype: 'float32', shape: x.shape, data: values.slice() }
    } finally {
      this.#heap.give(piece)
    }
  }

  dispose(): void {
    if (!this.#alive) return
    this.#alive = false
    this.#pool?.stop()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #expectAlive(): void {
    if (!this.#alive) throw disposed('kernel provider')
  }

  #matrix(weights: PackedWeights): PackedMatrix {
    this.#expectAlive()
    const matrix = weights instanceof WasmWeights ? weights.matrixIn(this.#heap) : undefined
    if (matrix === undefined) throw disposed('packed weights (or weights of another provider)')
    return matrix
  }

  /** Room for one product, kept for the next: products of a model repeat. */
  #workspace(matrix: PackedMatrix, m: number, floats: boolean): Workspace {
    const { format, columns, blocks } = matrix
    const rows = eight(m)
    const padded = format.groups * format.group
    const subs = Math.max(1, padded / Math.max(format.sub, 1))
    const actStride = line(padded * 2)
    const initStride = line(subs * 4)
    const outStride = blocks * BLOCK_ROWS * 4
    const strassen = !floats && format.kind === 8 && format.dot === undefined && format.groups === 1 && m >= STRASSEN.rows && columns >= STRASSEN.columns && blocks >= STRASSEN.blocks
    const scratchStride = line(Math.max(256 + padded * 16 + columns * 32, strassen ? rows * 128 + 7 * (padded * 8 + 192) : 0))
    const sizes = {
      job: JOB_WORDS.length * 4, x: rows * columns * 4, act: rows * actStride, init: rows * initStride, ends: rows * format.groups * 8,
      bias: outStride, out: rows * outStride, scratch: scratchStride * this.supports.threads,
      split: strassen ? (7 * rows * padded) / 2 : 0,
    }
    const total = Object.values(sizes).reduce((sum, bytes) => sum + line(bytes), 0)
    if (this.#space === undefined || this.#space.size < total) {
      if (this.#space !== undefined) this.#heap.give(this.#space)
      this.#space = undefined
      this.#space = this.#heap.take(total)
    }
    let at = this.#space.at
    const place = (bytes: number): number => {
      at += line(bytes)
      return at - line(bytes)
    }
    return {
      job: place(sizes.job), x: place(sizes.x), act: place(sizes.act), actStride, init: place(sizes.init), initStride, ends: place(sizes.ends),
      bias: place(sizes.bias), out: place(sizes.out), outStride, scratch: place(sizes.scratch), scratchStride,
      split: strassen ? place(sizes.split) : 0,
    }
  }
}

/** Blocks of one or two values, too short for a vector. */
function smallHadamard(x: Float32Array, block: number): Float32Array<ArrayBuffer> {
  const scale = Math.fround(1 / Math.sqrt(block))
  if (block === 1) return Float32Array.from(x)
  return Float32Array.from(x, (v, i) => Math.fround(i % 2 === 0 ? v + (x[i + 1] ?? 0) : (x[i - 1] ?? 0) - v) * scale)
}
