import type { GroupedTensor } from '../../grouped-tensor.js'
import type { Layout } from '../../layout/layout.js'
import type { PackedTensor, QTensor } from '../../qtensor.js'
import type { HostTensor } from '../../tensor.js'
import type { Plugin } from './plugin.js'
import type { Awaitable, KernelActivations, PackedWeights } from './packed-weights.js'
import type { ProgramCompiler, ProgramSupports, SyncProgramCompiler } from './programs.js'

export type * from './packed-weights.js'

/**
 * How far a float result may lie from the exact value: `(perTerm · terms + fixed) · 2^-24 · Σ|term|`, where the terms of
 * int8 activations are the groups of a row, and those of float activations the columns. The kernel derives its numbers from
 * the roundings it makes; the testkit holds it to them.
 */
export interface KernelRounding {
  readonly perTerm: number
  readonly fixed: number
}

/** What a kernel provider found on this machine and can do. */
export interface KernelSupports {
  /** `scalar`, `simd128`, `relaxed-simd`, `webgpu`. */
  readonly tier: string
  readonly threads: number
  /** True if every method answers at once: see {@link SyncKernelProvider}. */
  readonly synchronous: boolean
  /** What gives the same bits every time: the same call, or a row of activations whatever rows stand beside it. */
  readonly reproducible: 'calls' | 'rows'
  /** `dtype/granularity` pairs such as `int4/group`, `ternary/tensor`; `float32` for weights that are not quantized. */
  readonly schemes: readonly string[]
  /** There if {@link KernelProvider.programs} is. */
  readonly programs?: ProgramSupports
  /** Left out: `int8` and `float32`. */
  readonly activations?: readonly KernelActivations[]
  /** Sentences about the engine: the CPU's dot product, missing features. */
  readonly findings: readonly string[]
  /** Roundings after the integer sums, which are exact. */
  readonly integerRounding: KernelRounding
  /** Roundings of products with float activations. */
  readonly floatRounding: KernelRounding
}

/**
 * What a provider packs: codes, bytes of a layout, or floats. {@link GroupedTensor} is for providers with
 * `supports.programs`; `float16` and `bfloat16` are held as they are or widened, which changes no value.
 */
export type KernelWeights = QTensor | PackedTensor | GroupedTensor | HostTensor<'float32'> | HostTensor<'float16'> | HostTensor<'bfloat16'>

export interface PrepackOptions {
  /** How the bytes of a {@link PackedTensor} lie. Any layout will do: those of `@lowbit/formats/layouts`, a third party's. */
  readonly layout?: Layout
}

/** What the rows of a matrix have in common, known before they are read: floats, or codes in groups along K. */
export type RowForm =
  | { readonly dtype: 'float32' | 'float16' | 'bfloat16' }
  /** `range`: the least and the greatest level. */
  | { readonly group: number; readonly range: readonly [number, number]; readonly minima: boolean }

/** Packs a matrix while it is read, so that it never lies in memory twice. `dispose` gives back what is not finished. */
export interface RowPacker extends Disposable {
  /** The next rows, which are copied. @throws LOWBIT_SHAPE past the last one, LOWBIT_DATA outside the range, LOWBIT_NONFINITE */
  add(rows: GroupedTensor | HostTensor<'float32'> | HostTensor<'float16'> | HostTensor<'bfloat16'>): void
  /** @throws LOWBIT_SHAPE if rows are missing */
  finish(): PackedWeights
  dispose(): void
}

export interface MatmulOptions {
  /** `[N]`, added last. */
  readonly bias?: Float32Array
  /** Default `int8`. Float weights always take `float32`. */
  readonly activations?: KernelActivations
}

export interface ActivationOptions {
  /** One scale a row (default) or one for all rows. */
  readonly granularity?: 'token' | 'tensor'
  /** True (default): int8, −127 to 127, zero point 0. False: uint8 with a zero point, ONNX DynamicQuantizeLinear. */
  readonly symmetric?: boolean
}

/** Quantized activations `[M, K]`: `value = (code − zeroPoint) · scale`. */
export interface ActivationCodes {
  readonly codes: Int8Array | Uint8Array
  /** `[M]` or `[1]`. */
  readonly scales: Float32Array
  /** As the scales; absent when symmetric. */
  readonly zeroPoints?: Int32Array
}

export interface HadamardOptions {
  /** Length of the blocks that are transformed: a power of two that divides the last axis. Default: the last axis. */
  readonly block?: number
}

/**
 * Runs low-bit weights. `matmul` computes `x [M, K] × wᵀ [K, N]`.
 *
 * With int8 activations (Jacob et al. 2018, eq. 4) a row of x becomes codes `a = rint(x · (127 / absmax))` of scale
 * `absmax / 127`; `Σ a · (code − zeroPoint)` over a group is an exact integer, and
 * `y[m, n] = Σ_g scale[m] · weightScale[n, g] · sum[g] + bias[n]`, or `scale[m, g]` where each group has its own.
 *
 * Every method throws LOWBIT_DISPOSED once the provider, or the weights it is given, are disposed of.
 */
export interface KernelProvider extends Plugin<'kernels'>, Disposable {
  readonly supports: KernelSupports
  /**
   * Brings a matrix `[N, K]` into the provider's layout, once.
   * @throws LOWBIT_UNSUPPORTED for a scheme that is not in `supports`, and for a {@link PackedTensor} without its layout, LOWBIT_SHAPE if it is not a matrix, LOWBIT_LIMIT if memory ends.
   */
  prepack(weights: KernelWeights, options?: PrepackOptions): PackedWeights
  /**
   * The same for a matrix that comes a few rows at a time: what {@link prepack} makes of all of them. Absent: it must be whole.
   * @throws as {@link prepack}
   */
  packRows?(shape: readonly [number, number], form: RowForm): RowPacker
  /**
   * `[…, K]` to `[…, N]`.
   * @param out where to write; made if absent
   * @throws LOWBIT_SHAPE, LOWBIT_DTYPE, LOWBIT_NONFINITE (int8 activations that are not finite), LOWBIT_UNSUPPORTED for activations that are not in `supports`
   */
  matmul(x: HostTensor<'float32'>, weights: PackedWeights, out?: HostTensor<'float32'>, options?: MatmulOptions): Awaitable<HostTensor<'float32'>>
  /** @throws LOWBIT_NONFINITE */
  quantizeActivations(x: HostTensor<'float32'>, options?: ActivationOptions): Awaitable<ActivationCodes>
  /** The values `[N, K]` that packed weights stand for. */
  dequantize(weights: PackedWeights): Awaitable<HostTensor<'float32'>>
  /** Orthonormal Walsh-Hadamard transform of each block of the last axis (Sylvester order): `y = H x / sqrt(block)`. */
  hadamard(x: HostTensor<'float32'>, options?: HadamardOptions): Awaitable<HostTensor<'float32'>>
  /** Runs lists of operations in one call. */
  readonly programs?: ProgramCompiler
  dispose(): void
}

/** A provider that answers at once: WebAssembly, plain TypeScript. */
export interface SyncKernelProvider extends KernelProvider {
  readonly programs?: SyncProgramCompiler
  matmul(x: HostTensor<'float32'>, weights: PackedWeights, out?: HostTensor<'float32'>, options?: MatmulOptions): HostTensor<'float32'>
  quantizeActivations(x: HostTensor<'float32'>, options?: ActivationOptions): ActivationCodes
  dequantize(weights: PackedWeights): HostTensor<'float32'>
  hadamard(x: HostTensor<'float32'>, options?: HadamardOptions): HostTensor<'float32'>
}
