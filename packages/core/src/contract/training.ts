import type { QParams } from '../qtensor.js'
import type { Scheme } from '../scheme.js'
import type { Plugin } from './plugin.js'

/**
 * Differentiable operations of a backend, written once against by training algorithms. `T` is the backend's tensor.
 * Binary operations broadcast as numpy does. Axes may be negative.
 */
export interface Ops<T> {
  constant(value: number | Float32Array, shape?: readonly number[]): T
  shape(x: T): readonly number[]
  add(a: T, b: T): T
  sub(a: T, b: T): T
  mul(a: T, b: T): T
  div(a: T, b: T): T
  neg(x: T): T
  abs(x: T): T
  sqrt(x: T): T
  exp(x: T): T
  log(x: T): T
  tanh(x: T): T
  minimum(a: T, b: T): T
  maximum(a: T, b: T): T
  /** Half to even. Its gradient is zero: straight-through estimators are written with {@link custom}. */
  rint(x: T): T
  sign(x: T): T
  /** 1 where a >= b, else 0; no gradient. */
  greaterEqual(a: T, b: T): T
  where(condition: T, a: T, b: T): T
  sum(x: T, axes?: readonly number[], keepDims?: boolean): T
  mean(x: T, axes?: readonly number[], keepDims?: boolean): T
  max(x: T, axes?: readonly number[], keepDims?: boolean): T
  min(x: T, axes?: readonly number[], keepDims?: boolean): T
  reshape(x: T, shape: readonly number[]): T
  transpose(x: T, permutation?: readonly number[]): T
  pad(x: T, padding: readonly (readonly [number, number])[]): T
  slice(x: T, begin: readonly number[], size: readonly number[]): T
  matmul(a: T, b: T, transposeA?: boolean, transposeB?: boolean): T
  stopGradient(x: T): T
  /**
   * A function with its own backward pass: the straight-through estimator.
   * `forward` gets the inputs and gives the output and whatever the backward pass wants kept;
   * `backward` gets the output's gradient and what was kept and gives one gradient an input, in its shape.
   */
  custom(inputs: readonly T[], forward: (inputs: readonly T[]) => { output: T; saved: readonly T[] }, backward: (dy: T, saved: readonly T[]) => readonly T[]): T
}

/** A trainable or observed value that lives over training steps (a scale, an offset, a running range). */
export interface FakeQuantVariable {
  readonly name: string
  readonly shape: readonly number[]
  readonly initial: Float32Array
  /** False: updated by `forward` itself (observers), not by the optimizer. */
  readonly trainable: boolean
}

export interface FakeQuantSpec {
  readonly scheme: Scheme
  /** Shape of what is quantized: weights `[N, K]`; activations with `null` for the batch. */
  readonly shape: readonly (number | null)[]
  readonly role: 'weight' | 'activation'
}

/** State handed to a forward pass: variables by name, and the way to change the untrainable ones. */
export interface FakeQuantState<T> {
  read(name: string): T
  write(name: string, value: T): void
  readonly step: number
  readonly training: boolean
}

/** Fake quantization of one tensor: forward over differentiable operations, and the parameters it stands for. */
export interface FakeQuant {
  /** Variables with their first values; `data` are the values to be quantized, where known (weights). */
  variables(data?: Float32Array): readonly FakeQuantVariable[]
  forward<T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): T
  /** A term for the loss, if any. */
  penalty?<T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): T
  /** Scales and zero points that `forward` used; converting with them gives the same codes. */
  params(read: (name: string) => Float32Array, data?: Float32Array): QParams
}

/** Defines fake quantization for weights and activations: STE, LSQ, PACT, BitNet. */
export interface TrainingAlgorithm extends Plugin<'training'> {
  fakeQuant(spec: FakeQuantSpec): FakeQuant
}
