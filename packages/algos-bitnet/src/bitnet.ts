import type { ActivationRule, DeclarationsOf, FakeQuant, FakeQuantSpec, FakeQuantState, Ops, Rounded, Scheme, TrainingAlgorithm, TrainingRecipe } from '@lowbit/core'
import { describeScheme, LowbitError, resolveOptions } from '@lowbit/core'
import { bitActivationCodes } from './activation-quant.js'
import { warmupLambda } from './schedule.js'
import { PACKAGE, VERSION } from './version.js'
import { BITNET_EPSILON, bitWeightCodes, straightThrough } from './weight-quant.js'

/** Ternary weights, one scale a matrix. */
export const TERNARY_WEIGHTS: Scheme = { dtype: 'ternary', granularity: { kind: 'tensor' }, symmetric: true }

/** int8 activations, one symmetric scale a row, found at run time. */
export const BIT_ACTIVATIONS: Scheme = { dtype: 'int8', granularity: { kind: 'token' }, symmetric: true }

export interface BitNetOptions {
  /** Steps over which rounding is phased in, `x + λ(q(x) - x)` with `λ = min(step / steps, 1)`: for training that starts from a float checkpoint. Default 0. */
  readonly warmupSteps?: number
}

/** What {@link bitnet} takes. */
export const BITNET_OPTIONS = {
  warmupSteps: { type: 'integer', minimum: 0, default: 0, about: 'steps over which rounding is phased in' },
} as const satisfies DeclarationsOf<BitNetOptions>

/**
 * BitNet b1.58's fake quantization as a training algorithm, for layers of a model that is prepared; {@link bitnetRecipe} names both parts.
 * @throws LOWBIT_ARGUMENT naming the option
 */
export function bitnet(options: BitNetOptions = {}): TrainingAlgorithm {
  const { warmupSteps } = resolveOptions<BitNetOptions, typeof BITNET_OPTIONS>(BITNET_OPTIONS, options, 'bitnet')
  return { kind: 'training', name: PACKAGE, version: VERSION, apiVersion: 2, config: { warmupSteps }, fakeQuant: (spec) => fakeQuant(spec, warmupSteps) }
}

/** Ternary weights and int8 activations on every layer. Put a norm before each, as `bitLinear` does by itself. */
export function bitnetRecipe(options: BitNetOptions = {}): TrainingRecipe {
  const algorithm = bitnet(options)
  return { weights: { scheme: TERNARY_WEIGHTS, algorithm }, activations: { scheme: BIT_ACTIVATIONS, algorithm } }
}

function fakeQuant(spec: FakeQuantSpec, warmupSteps: number): FakeQuant {
  const { scheme, role } = spec
  const wanted = role === 'weight' ? TERNARY_WEIGHTS : BIT_ACTIVATIONS
  if (scheme.dtype !== wanted.dtype || scheme.granularity.kind !== wanted.granularity.kind || !scheme.symmetric) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'bitnet', found: `${role} in ${describeScheme(scheme)}`, expected: describeScheme(wanted) })
  }
  const quantize = <T>(ops: Ops<T>, x: T): Rounded<T> => {
    const { codes, scale } = role === 'weight' ? bitWeightCodes(ops, x) : bitActivationCodes(ops, x)
    return { codes, scales: ops.div(ops.constant(1), scale) }
  }
  return {
    scheme,
    variables: () => [],
    forward: <T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): T =>
      straightThrough(ops, x, warmupLambda(state.step, warmupSteps), (v) => {
        const { codes, scales } = quantize(ops, v)
        return ops.mul(codes, scales)
      }),
    quantize,
    ...(role === 'activation' ? { activation: (): ActivationRule => ({ kind: 'dynamic', dtype: 'int8', symmetric: true, narrow: true, epsilon: BITNET_EPSILON / 127 }) } : {}),
  }
}
