import type { ActivationRule, DeclarationsOf, FakeQuant, FakeQuantSpec, Ops, Rounded, TrainingAlgorithm } from '@lowbit/core'
import { codeRange, isIntegerCode, resolveOptions } from '@lowbit/core'
import { algorithm, unsupported } from './plugin.js'
import { signCodes } from './binary-connect.js'

export interface DorefaOptions {
  /**
   * `through` (default): the gradient also flows through the largest |tanh w|, as the authors' program has it.
   * `constant`: it stops there; only the element of largest magnitude sees the difference.
   */
  readonly maximum?: 'through' | 'constant'
}

/** What {@link dorefa} takes. */
export const DOREFA_OPTIONS = {
  maximum: { type: 'choice', values: ['through', 'constant'], default: 'through', about: 'whether the gradient flows through the largest |tanh w|' },
} as const satisfies DeclarationsOf<DorefaOptions>

/** `rint(x · n)`, straight through. */
const roundThrough = <T>(ops: Ops<T>, x: T): T => ops.custom([x], ([v]) => ({ output: ops.rint(v), saved: [] }), (dy) => [dy])

/** `rint(n · (tanh(w) / (2 max|tanh w|) + 1/2))`: whole numbers from 0 to n, differentiable straight through the rounding. */
function dorefaCodes<T>(ops: Ops<T>, w: T, levels: number, maximum: 'through' | 'constant'): T {
  const t = ops.tanh(w)
  const largest = ops.maximum(ops.max(ops.abs(t)), ops.constant(2 ** -126))
  const r = ops.add(ops.div(t, ops.mul(ops.constant(2), maximum === 'through' ? largest : ops.stopGradient(largest))), ops.constant(0.5))
  return roundThrough(ops, ops.mul(r, ops.constant(levels)))
}

/**
 * DoReFa weights (Zhou et al. 2016, eq. 9) in k bits: `2·rint(r·n)/n - 1` with `r = tanh(w)/(2 max|tanh w|) + 1/2`, `n = 2^k - 1`,
 * computed as `(code - n/2) · (2/n)` so that the converted model has the same values.
 */
export function dorefaWeight<T>(ops: Ops<T>, w: T, bits: number, options: DorefaOptions = {}): T {
  const levels = 2 ** bits - 1
  return ops.mul(ops.sub(dorefaCodes(ops, w, levels, options.maximum ?? 'through'), ops.constant(levels / 2)), ops.constant(2 / levels))
}

/** DoReFa weights in one bit: `sign(w) · mean|w|` over the layer; the gradient is `dy · mean|w|`, the mean a constant. */
export function dorefaBinaryWeight<T>(ops: Ops<T>, w: T): T {
  return ops.custom(
    [w],
    ([v]) => {
      const scale = ops.mean(ops.abs(v))
      return { output: ops.mul(signCodes(ops, v), scale), saved: [scale] }
    },
    (dy, [scale]) => [ops.mul(dy, scale)],
  )
}

/** DoReFa activations: clip to [0, 1], `rint(x·n)/n`; gradient on `0 <= x <= 1`. */
export function dorefaActivation<T>(ops: Ops<T>, x: T, bits: number): T {
  const levels = 2 ** bits - 1
  return ops.custom(
    [x],
    ([v]) => ({ output: ops.mul(dorefaActivationCodes(ops, v, levels), ops.constant(1 / levels)), saved: [ops.mul(ops.greaterEqual(v, ops.constant(0)), ops.greaterEqual(ops.constant(1), v))] }),
    (dy, [inside]) => [ops.mul(dy, inside)],
  )
}

const dorefaActivationCodes = <T>(ops: Ops<T>, x: T, levels: number): T => ops.rint(ops.mul(ops.minimum(ops.maximum(x, ops.constant(0)), ops.constant(1)), ops.constant(levels)))

/** DoReFa-Net: weights per tensor in 1 to 8 bits, activations unsigned per tensor in [0, 1]. */
export function dorefa(options: DorefaOptions = {}): TrainingAlgorithm {
  const { maximum } = resolveOptions<DorefaOptions, typeof DOREFA_OPTIONS>(DOREFA_OPTIONS, options, 'dorefa')
  return algorithm('dorefa', { maximum }, (spec) => (spec.role === 'weight' ? dorefaWeightQuant(spec, maximum) : dorefaActivationQuant(spec)))
}

function dorefaWeightQuant(spec: FakeQuantSpec, maximum: 'through' | 'constant'): FakeQuant {
  const { dtype, granularity } = spec.scheme
  if (!isIntegerCode(dtype) || dtype === 'ternary' || granularity.kind !== 'tensor') throw unsupported('dorefa', spec, 'integer or binary weights, one scale a tensor')
  if (dtype === 'binary') {
    return {
      scheme: spec.scheme,
      variables: () => [],
      forward: (ops, x) => dorefaBinaryWeight(ops, x),
      quantize: (ops, x) => ({ codes: signCodes(ops, x), scales: ops.mean(ops.abs(x)) }),
    }
  }
  const range = codeRange(dtype)
  const levels = range.max - range.min
  const zeroPoint = range.min + levels / 2
  return {
    scheme: { ...spec.scheme, symmetric: false, zeroPoint: 'float' },
    variables: () => [],
    forward: (ops, x) => ops.mul(ops.sub(dorefaCodes(ops, x, levels, maximum), ops.constant(levels / 2)), ops.constant(2 / levels)),
    quantize<T>(ops: Ops<T>, x: T): Rounded<T> {
      return { codes: ops.add(dorefaCodes(ops, x, levels, maximum), ops.constant(range.min)), scales: ops.constant(2 / levels), zeroPoints: ops.constant(zeroPoint) }
    },
  }
}

function dorefaActivationQuant(spec: FakeQuantSpec): FakeQuant {
  const { dtype, granularity } = spec.scheme
  if (!isIntegerCode(dtype) || codeRange(dtype).min !== 0 || granularity.kind !== 'tensor') throw unsupported('dorefa', spec, 'activations in an unsigned type, per tensor')
  const { max } = codeRange(dtype)
  const bits = Math.log2(max + 1)
  return {
    scheme: spec.scheme,
    variables: () => [],
    forward: (ops, x) => dorefaActivation(ops, x, bits),
    quantize: <T>(ops: Ops<T>, x: T): Rounded<T> => ({ codes: dorefaActivationCodes(ops, x, max), scales: ops.constant(1 / max), zeroPoints: ops.constant(0) }),
    activation: (): ActivationRule => ({ kind: 'static', dtype, scale: Math.fround(1 / max), zeroPoint: 0 }),
  }
}
