import type { ActivationRule, DeclarationsOf, FakeQuant, FakeQuantSpec, FakeQuantState, Ops, Rounded, TrainingAlgorithm } from '@lowbit/core'
import { codeRange, isIntegerCode, resolveOptions } from '@lowbit/core'
import { requireSeen } from './observer.js'
import { algorithm, unsupported } from './plugin.js'
import { positiveValues, positiveVariable, readPositive } from './positive.js'
import { clampTo } from './scale-rule.js'

export interface PactOptions {
  /** First clipping level α. Default 6. */
  readonly alpha?: number
  /** λ of the penalty `λα²`. Default 1e-3. */
  readonly decay?: number
}

/** What {@link pact} takes. */
export const PACT_OPTIONS = {
  alpha: { type: 'number', above: 0, default: 6, about: 'first clipping level' },
  decay: { type: 'number', minimum: 0, default: 1e-3, about: 'weight of the penalty on the square of the clipping level' },
} as const satisfies DeclarationsOf<PactOptions>

/** `rint(clip(x, 0, α) · (n/α))`, n the highest code. */
function pactCodes<T>(ops: Ops<T>, x: T, alpha: T, levels: number): T {
  const clipped = ops.minimum(ops.maximum(x, ops.constant(0)), alpha)
  return ops.rint(ops.mul(clipped, ops.div(ops.constant(levels), alpha)))
}

/**
 * PACT (Choi et al. 2018): clips at a learned α and rounds to n levels. dx passes on `0 <= x < α`, `dα = Σ dy[x >= α]`.
 * @param alpha scalar
 * @param levels `2^bits - 1`
 */
export function pactQuantize<T>(ops: Ops<T>, x: T, alpha: T, levels: number): T {
  return ops.custom(
    [x, alpha],
    ([v, a]) => {
      const above = ops.greaterEqual(v, a)
      const passes = ops.mul(ops.greaterEqual(v, ops.constant(0)), ops.sub(ops.constant(1), above))
      return { output: ops.mul(pactCodes(ops, v, a, levels), ops.div(a, ops.constant(levels))), saved: [passes, above] }
    },
    (dy, [passes, above]) => [ops.mul(dy, passes), ops.reshape(ops.sum(ops.mul(dy, above)), ops.shape(alpha))],
  )
}

/** `λα²`: its gradient adds `2λα`. */
export const pactPenalty = <T>(ops: Ops<T>, alpha: T, decay: number): T => ops.mul(ops.constant(decay), ops.mul(alpha, alpha))

/** PACT for activations that follow a ReLU: unsigned, per tensor. α stays positive. */
export function pact(options: PactOptions = {}): TrainingAlgorithm {
  const { alpha, decay } = resolveOptions<PactOptions, typeof PACT_OPTIONS>(PACT_OPTIONS, options, 'pact')
  return algorithm('pact', { alpha, decay }, (spec) => pactFakeQuant(spec, { alpha, decay }))
}

function pactFakeQuant(spec: FakeQuantSpec, { alpha, decay }: Required<PactOptions>): FakeQuant {
  const { scheme, role } = spec
  const { dtype } = scheme
  if (role !== 'activation' || !isIntegerCode(dtype) || codeRange(dtype).min !== 0 || scheme.granularity.kind !== 'tensor') throw unsupported('pact', spec, 'activations in an unsigned type, per tensor')
  const { max } = codeRange(dtype)
  return {
    scheme,
    variables: () => [positiveVariable('alpha', [], [alpha]), { name: 'seen', shape: [], initial: new Float32Array(1), trainable: false }],
    forward<T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): T {
      if (state.training) state.write('seen', ops.constant(1))
      return pactQuantize(ops, x, readPositive(ops, state, 'alpha'), max)
    },
    penalty: (ops, _, state) => pactPenalty(ops, readPositive(ops, state, 'alpha'), decay),
    quantize<T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): Rounded<T> {
      const a = readPositive(ops, state, 'alpha')
      return { codes: clampTo(ops, pactCodes(ops, x, a, max), codeRange(dtype)), scales: ops.div(a, ops.constant(max)), zeroPoints: ops.constant(0) }
    },
    activation(read): ActivationRule {
      requireSeen(read)
      return { kind: 'static', dtype, scale: Math.fround(positiveValues(read, 'alpha')[0] / max), zeroPoint: 0 }
    },
  }
}
