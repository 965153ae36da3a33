import type { ActivationRule, DeclarationsOf, FakeQuant, FakeQuantSpec, FakeQuantState, IntegerCode, Ops, Rounded, TrainingAlgorithm } from '@lowbit/core'
import { codeRange, isIntegerCode, resolveOptions, roundHalfEven } from '@lowbit/core'
import { affineCodes, affineValues, type AffineParams } from './affine.js'
import { granules } from './granules.js'
import { observeRange, onceSeen, rangeVariables, requireSeen } from './observer.js'
import { algorithm, unsupported } from './plugin.js'
import { asymmetricFromRange, insideOf, SMALLEST_NORMAL, symmetricFromRange, symmetricScale, type CodeRange, type ScaleRule } from './scale-rule.js'

export interface SteOptions {
  /** Scale of symmetric schemes. Default `no-clipping`. */
  readonly rule?: ScaleRule
  /** Least scale. Default 2^-126, the smallest normal float32. */
  readonly epsilon?: number
  /** Share of a new batch in the running range of a static activation. Default 0.01. */
  readonly momentum?: number
}

/** What {@link ste} takes. */
export const STE_OPTIONS = {
  rule: { type: 'choice', values: ['no-clipping', 'half-range'], default: 'no-clipping', about: 'scale of symmetric schemes' },
  epsilon: { type: 'number', above: 0, default: SMALLEST_NORMAL, about: 'least scale' },
  momentum: { type: 'number', minimum: 0, maximum: 1, default: 0.01, about: 'share of a new batch in the running range of a static activation' },
} as const satisfies DeclarationsOf<SteOptions>

/**
 * Plain fake quantization with the straight-through estimator. Weights take their scale from themselves at every step;
 * activations per token (dynamic) or per tensor with a running range (static).
 */
export function ste(options: SteOptions = {}): TrainingAlgorithm {
  const { rule, epsilon, momentum } = resolveOptions<SteOptions, typeof STE_OPTIONS>(STE_OPTIONS, options, 'ste')
  return algorithm('ste', { rule, epsilon, momentum }, (spec) => steFakeQuant(spec, { rule, epsilon, momentum }))
}

function steFakeQuant(spec: FakeQuantSpec, options: Required<SteOptions>): FakeQuant {
  const { scheme, role } = spec
  const { dtype } = scheme
  if (!isIntegerCode(dtype) || dtype === 'binary' || dtype === 'ternary') throw unsupported('ste', spec, 'an integer code type; for binary and ternary use binaryConnect, xnor, ternary or ttq')
  const kind = scheme.granularity.kind
  if (role === 'weight' ? kind === 'token' : kind !== 'token' && kind !== 'tensor') throw unsupported('ste', spec, role === 'weight' ? 'granularity tensor, channel or group' : 'granularity token or tensor')
  const range = codeRange(dtype)
  if (scheme.symmetric && range.min === 0 && role === 'weight') throw unsupported('ste', spec, 'a signed type for symmetric weights')
  const observed = role === 'activation' && kind === 'tensor'

  const paramsOf = <T>(ops: Ops<T>, view: T, axes: readonly number[], state: FakeQuantState<T>): AffineParams<T> => {
    if (observed) {
      const { low, high } = observeRange(ops, view, state, options.momentum)
      return scheme.symmetric ? { scale: symmetricFromRange(ops, low, high, range, options.epsilon) } : asymmetricFromRange(ops, low, high, range, options.epsilon)
    }
    if (scheme.symmetric) return { scale: symmetricScale(ops, view, axes, range, options.rule, options.epsilon) }
    return asymmetricFromRange(ops, ops.min(view, axes, true), ops.max(view, axes, true), range, options.epsilon)
  }
  /** With a range that follows the values nothing is ever clipped: the mask would be all ones. */
  const neverClips = !observed && (scheme.symmetric ? options.rule === 'no-clipping' : false)

  return {
    scheme,
    variables: () => (observed ? rangeVariables() : []),
    forward<T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): T {
      const g = granules(ops, scheme.granularity, ops.shape(x))
      const kernel = ops.fakeQuantKernel?.(scheme.granularity, ops.shape(x))
      const y = ops.custom(
        [x],
        ([v]) => {
          const view = g.view(v)
          const params = paramsOf(ops, view, g.axes, state)
          if (kernel !== undefined) {
            const { scale, zeroPoint } = params
            return { output: kernel.affine(v, scale, zeroPoint, range), saved: neverClips ? [] : [v, scale, ...(zeroPoint === undefined ? [] : [zeroPoint])] }
          }
          const { codes, unclamped } = affineCodes(ops, view, params, range)
          return { output: g.unview(affineValues(ops, codes, params)), saved: neverClips ? [] : [g.unview(insideOf(ops, unclamped, range))] }
        },
        (dy, saved) => {
          if (neverClips) return [dy]
          return [kernel === undefined ? ops.mul(dy, saved[0]) : kernel.affineGradient(dy, saved[0], saved[1], saved[2], range)]
        },
      )
      return observed ? onceSeen(ops, state, y, x) : y
    },
    quantize<T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): Rounded<T> {
      const g = granules(ops, scheme.granularity, ops.shape(x))
      const view = g.view(x)
      const params = paramsOf(ops, view, g.axes, { ...reading(state), training: false })
      return {
        codes: g.unview(affineCodes(ops, view, params, range).codes),
        scales: g.grid(params.scale),
        ...(params.zeroPoint === undefined ? {} : { zeroPoints: g.grid(params.zeroPoint) }),
      }
    },
    ...(role === 'activation' ? { activation: (read) => activationRule(read, spec, dtype, range, options) } : {}),
  }
}

/** The state without its methods' owner. */
const reading = <T>(state: FakeQuantState<T>): FakeQuantState<T> => ({ read: (name) => state.read(name), write: (name, value) => state.write(name, value), step: state.step, training: state.training })

function activationRule(read: (name: string) => Float32Array, { scheme }: FakeQuantSpec, dtype: IntegerCode, range: CodeRange, options: Required<SteOptions>): ActivationRule {
  if (scheme.granularity.kind === 'token') return { kind: 'dynamic', dtype, symmetric: scheme.symmetric, epsilon: options.epsilon }
  requireSeen(read)
  const low = Math.min(read('low')[0], 0)
  const high = Math.max(read('high')[0], 0)
  const f = Math.fround
  if (scheme.symmetric) {
    const down = range.min === 0 ? 0 : f(low / range.min)
    return { kind: 'static', dtype, scale: Math.max(down, f(high / range.max), options.epsilon), zeroPoint: 0 }
  }
  const scale = Math.max(f(f(high - low) / (range.max - range.min)), options.epsilon)
  const zeroPoint = Math.min(range.max, Math.max(range.min, range.min - roundHalfEven(f(low / scale))))
  return { kind: 'static', dtype, scale, zeroPoint }
}
