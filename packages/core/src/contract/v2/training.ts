import type { Granularity, IntegerCode, Scheme } from '../../scheme.js'
import type { Site } from './host.js'
import type { Plugin } from './plugin.js'

/**
 * Differentiable operations of a backend, written once against by training algorithms. `T` is the backend's tensor, of float32 values.
 * Binary operations broadcast as numpy does. Axes may be negative. Nothing changes its arguments.
 */
export interface Ops<T> {
  constant(value: number | Float32Array, shape?: readonly number[]): T
  shape(x: T): readonly number[]
  add(a: T, b: T): T
  sub(a: T, b: T): T
  mul(a: T, b: T): T
  /** True division: one rounding, not a product with the reciprocal. */
  div(a: T, b: T): T
  neg(x: T): T
  abs(x: T): T
  sqrt(x: T): T
  exp(x: T): T
  log(x: T): T
  tanh(x: T): T
  sin(x: T): T
  cos(x: T): T
  /** On a tie the gradient may go to either argument or to both in parts that add up to one. */
  minimum(a: T, b: T): T
  maximum(a: T, b: T): T
  /** Half to even. Its gradient is zero: straight-through estimators are written with {@link Ops.custom}. */
  rint(x: T): T
  /** −1, 0 or 1; gradient zero. */
  sign(x: T): T
  /** 1 where a >= b, else 0; gradient zero. */
  greaterEqual(a: T, b: T): T
  /** `a` where the condition is not 0, else `b`; no gradient to the condition. */
  where(condition: T, a: T, b: T): T
  /** Without `axes`: over all of them. */
  sum(x: T, axes?: readonly number[], keepDims?: boolean): T
  mean(x: T, axes?: readonly number[], keepDims?: boolean): T
  max(x: T, axes?: readonly number[], keepDims?: boolean): T
  min(x: T, axes?: readonly number[], keepDims?: boolean): T
  reshape(x: T, shape: readonly number[]): T
  /** Without `permutation`: the axes in reverse. */
  transpose(x: T, permutation?: readonly number[]): T
  /** With zeros; `[before, after]` an axis. */
  pad(x: T, padding: readonly (readonly [number, number])[]): T
  slice(x: T, begin: readonly number[], size: readonly number[]): T
  /** Of matrices, or of equally long stacks of them. */
  matmul(a: T, b: T, transposeA?: boolean, transposeB?: boolean): T
  /**
   * Rows of `x [rows, …]` by their indices: `[…shape of indices, …]`. The gradient of a row is the sum of those of its copies.
   * @param shape - of the indices. Default one axis.
   * @throws LOWBIT_SHAPE for an index that is not a row
   */
  gather(x: T, indices: ArrayLike<number>, shape?: readonly number[]): T
  /** Along an axis; the other sizes are equal. */
  concat(parts: readonly T[], axis: number): T
  /** `exp(x) / Σ exp(x)` over the last axis; finite wherever x is. */
  softmax(x: T): T
  /** `log Σ exp(x)` over the last axis; finite wherever x is. */
  logSumExp(x: T, keepDims?: boolean): T
  /** 0, 1, … size − 1: what masks of positions are made from, with `greaterEqual`. */
  range(size: number): T
  stopGradient(x: T): T
  /**
   * A function with its own backward pass: the straight-through estimator.
   * `forward` gets the inputs and gives the output and whatever the backward pass wants kept;
   * `backward` gets the output's gradient and what was kept and gives one gradient an input, in its shape.
   * Neither is differentiated again.
   */
  custom(inputs: readonly T[], forward: (inputs: readonly T[]) => { output: T; saved: readonly T[] }, backward: (dy: T, saved: readonly T[]) => readonly T[]): T
  /**
   * Fake quantization of a tensor of this shape in one pass over its data, where the backend has that now; undefined (or no such
   * method): compose it. Values are those of the composition to the last bit, gradients to the order of their sums.
   */
  fakeQuantKernel?(granularity: Granularity, shape: readonly number[]): FakeQuantKernel<T> | undefined
}

/**
 * The two formulas that most estimators share, each way. Not differentiable: for use inside {@link Ops.custom}.
 * Scales and zero points hold one value a granule, in the order of the granule grid, in any shape.
 */
export interface FakeQuantKernel<T> {
  /** `rint(clamp(x / s)) · s` */
  lsq(x: T, scales: T, range: CodeBounds): T
  /**
   * `dx`: dy where `min <= x / s <= max`. `ds`, in the shape of the scales: the sum over the granule of `dy · (rint(clamp(x / s)) - x / s)`
   * inside and `dy · clamp(x / s)` outside, times `gradientScale`, by default `1 / sqrt(elements · max(max, 1))`.
   */
  lsqGradients(dy: T, x: T, scales: T, range: CodeBounds, gradientScale?: number): readonly [dx: T, ds: T]
  /** `(clamp(rint(x · (1 / s)) + z) - z) · s` */
  affine(x: T, scales: T, zeroPoints: T | undefined, range: CodeBounds): T
  /** dy where `min <= rint(x · (1 / s)) + z <= max`. */
  affineGradient(dy: T, x: T, scales: T, zeroPoints: T | undefined, range: CodeBounds): T
}

/** Lowest and highest code. */
export interface CodeBounds {
  readonly min: number
  readonly max: number
}

/** {@link Ops} with the two things only tests, conversion and simple training loops need: gradients and values. */
export interface Differentiator<T> {
  readonly ops: Ops<T>
  /** `f(inputs)`, and for each input the gradient of `Σ dy · f(inputs)`. */
  vjp(f: (inputs: readonly T[]) => T, inputs: readonly T[], dy: T): { readonly y: T; readonly gradients: readonly T[] }
  read(x: T): Promise<Float32Array>
}

/** {@link Differentiator} with what a training loop wants beside gradients: values that stay, and an end for those that do not. */
export interface TrainingBackend<T> extends Differentiator<T> {
  /** What computes: `tfjs wasm`. */
  readonly name: string
  /** Runs `f`; of what is made in it, only what it gives back and what was kept stays. */
  scope(f: () => readonly T[]): readonly T[]
  /** Takes a value out of all scopes: it lives until it is released. Returns it. */
  keep(x: T): T
  release(x: T): void
  /** Values alive, where the backend counts them. */
  alive(): number
}

/** A trainable or observed value that lives over training steps (a scale, an offset, a running range). */
export interface FakeQuantVariable {
  /** Unique within one {@link FakeQuant}. */
  readonly name: string
  readonly shape: readonly number[]
  readonly initial: Float32Array
  /** False: changed by `forward` itself (observers), not by the optimizer. */
  readonly trainable: boolean
}

export interface FakeQuantSpec {
  /** Its axes are those of `shape`. */
  readonly scheme: Scheme
  /** Shape of what is quantized; `null` for the batch and other sizes that are not known. */
  readonly shape: readonly (number | null)[]
  readonly role: 'weight' | 'activation'
}

/** State handed to a forward pass: variables by name, and the way to change them. */
export interface FakeQuantState<T> {
  read(name: string): T
  /** Takes effect at once; not differentiated. */
  write(name: string, value: T): void
  /** Training steps finished before this one. */
  readonly step: number
  /** True in a forward pass that belongs to a training step: only then does `forward` write. */
  readonly training: boolean
}

/** What a tensor was rounded to: `value = (code - zeroPoint) · scale`. */
export interface Rounded<T> {
  /** Whole numbers, in the shape of what was rounded. */
  readonly codes: T
  /** In the shape of the scheme's granule grid (`paramShape`); of a token scheme: x's shape with 1 for the last axis. */
  readonly scales: T
  /** As `scales`; absent when 0. May be fractions (`zeroPoint: 'float'`): balanced levels, DoReFa. */
  readonly zeroPoints?: T
}

/** How a deployed model quantizes an activation. */
export type ActivationRule =
  /** Codes are clamped to the range of `dtype`, which may be a low-bit type such as `uint4`. */
  | { readonly kind: 'static'; readonly dtype: IntegerCode; readonly scale: number; readonly zeroPoint: number }
  /** Scale and zero point of each row are found at run time. `narrow`: without the lowest code, so that the scale is absmax / qmax (BitNet). */
  | { readonly kind: 'dynamic'; readonly dtype: IntegerCode; readonly symmetric: boolean; readonly epsilon: number; readonly narrow?: boolean }

/**
 * Fake quantization of one tensor over differentiable operations. Holds no tensors: all that lives longer than a step is in its variables.
 *
 * Prepare = convert: `forward` gives `(codes - zeroPoints) · scales` of what `quantize` gives on the same operations, to the last bit.
 */
export interface FakeQuant {
  /** The scheme that the codes have, where it differs from the one asked for (a float zero point); axes as in the spec. */
  readonly scheme: Scheme
  /** Variables with their first values; `data` are the values to be quantized, where known (weights). */
  variables(data?: Float32Array): readonly FakeQuantVariable[]
  forward<T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): T
  /** What the latent weight is replaced with after each optimizer step, if anything (BinaryConnect clips to [-1, 1]). */
  project?<T>(ops: Ops<T>, x: T): T
  /** A scalar term for the loss, if any. */
  penalty?<T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): T
  /**
   * The codes behind `forward`, never writing.
   * @throws LOWBIT_UNSUPPORTED if no scheme can say what `forward` computes.
   */
  quantize<T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): Rounded<T>
  /**
   * New values of stored scales after each output channel of the weight was multiplied by a positive factor, so that its codes stay
   * (BatchNorm statistics that are estimated anew). Absent: scales follow the weight, or there is no such rule.
   */
  rescaled?(read: (name: string) => Float32Array, factors: Float32Array): Readonly<Record<string, Float32Array>>
  /**
   * For activations: the rule of the deployed model.
   * @throws LOWBIT_CALIBRATION before any observation.
   */
  activation?(read: (name: string) => Float32Array): ActivationRule
}

/** Defines fake quantization for weights and activations: STE, LSQ, PACT, BitNet. */
export interface TrainingAlgorithm extends Plugin<'training'> {
  /** @throws LOWBIT_UNSUPPORTED for a scheme or role it cannot do. */
  fakeQuant(spec: FakeQuantSpec): FakeQuant
}

/** A scheme and how it is trained. Axes of the scheme are those of weights seen as `[N, K]`. */
export interface FakeQuantTarget {
  readonly scheme: Scheme
  readonly algorithm: TrainingAlgorithm
}

/** What to train in low precision, and when: plain data apart from the algorithms. */
export interface TrainingRecipe {
  /** Absent: weights stay in float. */
  readonly weights?: FakeQuantTarget
  /** The inputs of the layers. Absent: they stay in float. */
  readonly activations?: FakeQuantTarget
  /** The last one that matches a layer wins. `null`: float. */
  readonly overrides?: readonly TrainingOverride[]
  /** Training step at which rounding starts; observers see values from the first step on. Default 0. */
  readonly start?: number
  /** Step from which observers stand still. Default: never. */
  readonly freezeObservers?: number
  /** BatchNorm after a layer: folded with running statistics (default), with the batch's, or kept as a layer of its own. */
  readonly batchNorm?: 'running' | 'batch' | 'keep'
  /** Step from which BatchNorm uses its running statistics and leaves them alone. Default: never. */
  readonly freezeBatchNorm?: number
}

export interface TrainingOverride {
  /** A layer's id, or a pattern in which `*` stands for any characters. */
  readonly match: string
  readonly weights?: FakeQuantTarget | null
  readonly activations?: FakeQuantTarget | null
}

/** A layer that a backend can prepare, with its weight as a matrix: a reshape of what the backend stores. */
export interface TrainingLayer {
  readonly id: string
  readonly kind: Site['kind'] | 'depthwise'
  /** The backend's own word: `Dense`, `Conv2D`. */
  readonly op: string
  /** Output channels N, and weights each of them has, K. */
  readonly rows: number
  readonly columns: number
  /** How the matrix lies: `KN` is a reshape of `[in, out]` and `[h, w, in, out]` kernels. */
  readonly orientation: 'NK' | 'KN'
  /** Shape of the layer's input; `null` for what is not known. Absent: its input cannot be quantized (an embedding's indices). */
  readonly input?: readonly (number | null)[]
}
