import type { HostTensor } from '../../tensor.js'
import type { Awaitable, KernelActivations, PackedWeights } from './packed-weights.js'

/**
 * A program is what a decoder language model runs for a few tokens, as plain data: named matrices, vectors, buffers and
 * caches, and a list of steps over them. A provider compiles it once and then runs it in one call.
 *
 * A run has R rows, one a token, at the positions `start … start + R − 1`; the last W of them are *wanted*. A buffer is
 * float32 `[R, width]`, or `[W, width]` with `rows: 'wanted'`: steps over such buffers are made for the wanted rows alone,
 * which is how a prompt skips the head.
 */
export interface Program {
  /** Most rows of one run. */
  readonly rows: number
  /** Most wanted rows of one run. */
  readonly wanted: number
  /** Positions that caches hold. */
  readonly context: number
  /** Weights by name, `[rows, columns]` = [N, K]. */
  readonly matrices: Readonly<Record<string, MatrixShape>>
  /** Gains, biases and tables of rotations by name: how many floats. */
  readonly vectors: Readonly<Record<string, number>>
  readonly buffers: Readonly<Record<string, BufferShape>>
  readonly caches: Readonly<Record<string, CacheShape>>
  readonly steps: readonly ProgramStep[]
  /** The buffer that a run gives back, with `rows: 'wanted'`. */
  readonly output: string
}

export interface MatrixShape {
  readonly rows: number
  readonly columns: number
}

export interface BufferShape {
  readonly width: number
  /** Default `run`: one for each row of a run. */
  readonly rows?: 'run' | 'wanted'
}

export type CacheType = 'float32' | 'float16' | 'int8'

/** Keys and values of all positions. float16: beyond ±65504 they become that. int8: symmetric codes, one scale for each head and position. */
export interface CacheShape {
  /** Heads of keys and values; queries may have a multiple of them. */
  readonly heads: number
  /** Floats of one head. */
  readonly size: number
  readonly type: CacheType
}

/** Matrix product of a step. */
export interface ProgramProduct {
  readonly matrix: string
  /** A vector, added last. */
  readonly bias?: string
  readonly to: string
}

/**
 * One step. Names are those of {@link Program}. `to` may be the buffer that is read, except in `embed`, `linear`,
 * `attention` and `select`.
 */
export type ProgramStep =
  /** Row `token` of a matrix, times `by` (default 1). */
  | { readonly op: 'embed'; readonly matrix: string; readonly to: string; readonly by?: number }
  /** RMSNorm over the whole width, or over each of `segments` equal parts: `x / sqrt(mean(x²) + epsilon) · gain`. A gain has the length of a part. */
  | { readonly op: 'norm'; readonly from: string; readonly to: string; readonly epsilon: number; readonly gain?: string; readonly segments?: number }
  /** Products with one input, which is quantized once for all weights with the same groups (`activations`, default `int8`) or not at all. */
  | { readonly op: 'linear'; readonly from: string; readonly products: readonly ProgramProduct[]; readonly activations?: KernelActivations }
  /**
   * Rotates the first `rotated` floats of each of `heads` equal parts by the angles of the row's position, in place. `cos`
   * and `sin` are vectors `[context, rotated / 2]`. Pair i is `(i, i + rotated / 2)`, or `(2i, 2i + 1)` with `interleaved`.
   */
  | { readonly op: 'rope'; readonly buffer: string; readonly heads: number; readonly rotated: number; readonly cos: string; readonly sin: string; readonly style: 'halves' | 'interleaved' }
  /** Puts keys and values `[R, heads · size]` into a cache, at the rows' positions. */
  | { readonly op: 'append'; readonly cache: string; readonly keys: string; readonly values: string }
  /**
   * `softmax(scale · q kᵀ) v` over the positions up to each row's own, the last `window` of them if given. With `softcap`
   * scores become `softcap · tanh(score / softcap)`. Query head h reads head `floor(h · cache heads / heads)`.
   */
  | { readonly op: 'attention'; readonly queries: string; readonly cache: string; readonly to: string; readonly heads: number; readonly scale: number; readonly window?: number; readonly softcap?: number }
  /** `activation(gate) · up`; gelu is the tanh form, relu2 is `max(x, 0)²`. */
  | { readonly op: 'gate'; readonly gate: string; readonly up: string; readonly to: string; readonly activation: 'silu' | 'gelu' | 'relu2' }
  | { readonly op: 'add'; readonly a: string; readonly b: string; readonly to: string }
  | { readonly op: 'scale'; readonly from: string; readonly to: string; readonly by: number }
  /** `cap · tanh(x / cap)`. */
  | { readonly op: 'softcap'; readonly from: string; readonly to: string; readonly cap: number }
  | { readonly op: 'copy'; readonly from: string; readonly to: string }
  /** The wanted rows of a buffer of all rows. */
  | { readonly op: 'select'; readonly from: string; readonly to: string }

export type ProgramOp = ProgramStep['op']

/** What the names of a program stand for. They must live as long as what is compiled from them. */
export interface ProgramBindings {
  /** Weights that the same provider packed. */
  readonly matrices: Readonly<Record<string, PackedWeights>>
  /** Copied when compiled. */
  readonly vectors: Readonly<Record<string, Float32Array>>
}

export interface ProgramInput {
  /** Rows of the run: as many as there are tokens, where there are tokens. */
  readonly rows?: number
  /** What `embed` reads. */
  readonly tokens?: ArrayLike<number>
  /** Buffers to fill before the run, `[R, width]`. */
  readonly buffers?: Readonly<Record<string, Float32Array>>
  /** Position of the first row. Positions from here on are forgotten: a run overwrites what stood there. */
  readonly start: number
  /** How many of the last rows are wanted. Default 1; 0 only fills the caches. */
  readonly wanted?: number
}

/** A program in a provider's memory, with its buffers and caches. */
export interface CompiledProgram extends Disposable {
  readonly program: Program
  /** Bytes of buffers, caches and vectors; weights not included. */
  readonly bytes: number
  /**
   * Runs all steps.
   * @returns the output buffer `[W, width]`, a copy
   * @throws LOWBIT_SHAPE, LOWBIT_LIMIT (positions past the context, more rows than declared), LOWBIT_DATA (a token that the
   * matrix has no row for), LOWBIT_NONFINITE (activations that cannot be quantized: the step is named)
   */
  run(input: ProgramInput): Awaitable<HostTensor<'float32'>>
  /** What a buffer holds after the last run, `[rows, width]`, a copy: for comparing layer by layer. Steps that share a buffer overwrite it. */
  read(buffer: string): Awaitable<HostTensor<'float32'>>
  dispose(): void
}

/** {@link CompiledProgram} of a provider that answers at once. */
export interface SyncCompiledProgram extends CompiledProgram {
  run(input: ProgramInput): HostTensor<'float32'>
  read(buffer: string): HostTensor<'float32'>
}

/** What a provider runs in programs. */
export interface ProgramSupports {
  readonly ops: readonly ProgramOp[]
  readonly caches: readonly CacheType[]
}

/** The capability of running programs: `KernelProvider.programs`, there if `supports.programs` is. */
export interface ProgramCompiler {
  /**
   * Checks a program against what its names are bound to and gives it memory.
   * @throws LOWBIT_SHAPE, LOWBIT_ARGUMENT naming the step, LOWBIT_UNSUPPORTED for an op or a cache that is not in
   * `supports.programs`, LOWBIT_LIMIT if memory does not suffice
   */
  compile(program: Program, bindings: ProgramBindings): Awaitable<CompiledProgram>
}

/** A compiler of a provider that answers at once. */
export interface SyncProgramCompiler extends ProgramCompiler {
  compile(program: Program, bindings: ProgramBindings): SyncCompiledProgram
}
