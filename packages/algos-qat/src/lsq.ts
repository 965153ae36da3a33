import type { ActivationRule, DeclarationsOf, FakeQuant, FakeQuantSpec, FakeQuantState, Granularity, Ops, Rounded, TrainingAlgorithm } from '@lowbit/core'
import { codeRange, granuleIndex, isIntegerCode, paramShape, resolveOptions } from '@lowbit/core'
import { granules, type Granules } from './granules.js'
import { leastSquaresScales } from './least-squares.js'
import { requireSeen } from './observer.js'
import { algorithm, unsupported } from './plugin.js'
import { positiveValues, positiveVariable, readPositive, rescaledPositive, writePositive } from './positive.js'
import { clampTo, insideOf, type CodeRange } from './scale-rule.js'
import { searchScale } from './search-scale.js'

/**
 * - `least-squares` (default): the scale of least squared error.
 * - `paper`: `2·mean|v| / sqrt(qmax)`, about twice too coarse for int4 groups of 32 that start from a trained model.
 */
export type LsqStart = 'least-squares' | 'paper'

export interface LsqOptions {
  readonly start?: LsqStart
  /** Training steps in which an activation's scale is set from the batch instead of learned. Default 1. */
  readonly observeSteps?: number
}

/** What {@link lsq} takes. */
export const LSQ_OPTIONS = {
  start: { type: 'choice', values: ['least-squares', 'paper'], default: 'least-squares', about: 'first scale of a weight' },
  observeSteps: { type: 'integer', minimum: 0, default: 1, about: 'steps in which an activation takes its scale from the batch' },
} as const satisfies DeclarationsOf<LsqOptions>

export interface LsqQuantizeOptions {
  readonly range: CodeRange
  readonly granularity: Granularity
  /** Multiplies the scale's gradient. Default `1 / sqrt(N · qmax)`, N the elements that share the scale. */
  readonly gradientScale?: number
}

/**
 * LSQ (Esser et al. 2020): `rint(clamp(v/s)) · s`. Gradient to v where `qmin <= v/s <= qmax` before rounding, both ends included;
 * `ds = rint(v/s) - v/s` inside, `qmin` or `qmax` outside.
 * @param scale in the shape of the granule grid
 */
export function lsqQuantize<T>(ops: Ops<T>, v: T, scale: T, options: LsqQuantizeOptions): T {
  const { range, granularity } = options
  const kernel = ops.fakeQuantKernel?.(granularity, ops.shape(v))
  if (kernel !== undefined) {
    return ops.custom(
      [v, scale],
      ([x, s]) => ({ output: kernel.lsq(x, s, range), saved: [x, s] }),
      (dy, [x, s]) => kernel.lsqGradients(dy, x, s, range, options.gradientScale),
    )
  }
  const g = granules(ops, granularity, ops.shape(v))
  return ops.custom(
    [v, scale],
    ([x, s]) => {
      const spread = g.spread(s)
      const ratio = ops.div(g.view(x), spread)
      const codes = lsqCodes(ops, ratio, range)
      const inside = insideOf(ops, ratio, range)
      return { output: g.unview(ops.mul(codes, spread)), saved: [inside, ops.sub(codes, ops.mul(inside, ratio))] }
    },
    (dy, [inside, slope]) => {
      const flowing = g.view(dy)
      const ds = g.grid(ops.sum(ops.mul(flowing, slope), g.axes, true))
      return [g.unview(ops.mul(flowing, inside)), ops.mul(ds, lsqGradientScale(ops, g, range, options.gradientScale))]
    },
  )
}

/** Rounding after the clamp, as the paper has it; the ends are whole numbers, so the order makes no difference to the codes. */
export const lsqCodes = <T>(ops: Ops<T>, ratio: T, range: CodeRange): T => ops.rint(clampTo(ops, ratio, range))

export function lsqGradientScale<T>(ops: Ops<T>, g: Granules<T>, range: CodeRange, given: number | undefined): T {
  if (given !== undefined) return ops.constant(given)
  return ops.div(ops.constant(1), ops.sqrt(ops.mul(g.counts(), ops.constant(Math.max(range.max, 1)))))
}

/** `2·mean|v| / sqrt(qmax)`, one a granule. */
export function lsqPaperScales(data: Float32Array, shape: readonly number[], granularity: Granularity, range: CodeRange): Float32Array {
  const count = paramShape(granularity, shape).reduce((a, b) => a * b, 1)
  const of = granuleIndex(granularity, shape)
  const sums = new Float64Array(count)
  const sizes = new Float64Array(count)
  data.forEach((v, i) => {
    sums[of(i)] += Math.abs(v)
    sizes[of(i)]++
  })
  return Float32Array.from(sums, (sum, i) => (2 * sum) / sizes[i] / Math.sqrt(Math.max(range.max, 1)))
}

/** Learned step size (LSQ), for weights and static activations, symmetric. The scale is learned by its logarithm and so stays positive. */
export function lsq(options: LsqOptions = {}): TrainingAlgorithm {
  const { start, observeSteps } = resolveOptions<LsqOptions, typeof LSQ_OPTIONS>(LSQ_OPTIONS, options, 'lsq')
  return algorithm('lsq', { start, observeSteps }, (spec) => lsqFakeQuant(spec, { start, observeSteps }))
}

function lsqFakeQuant(spec: FakeQuantSpec, { start, observeSteps }: Required<LsqOptions>): FakeQuant {
  const { scheme, role } = spec
  const { dtype, granularity } = scheme
  if (!isIntegerCode(dtype) || dtype === 'binary') throw unsupported('lsq', spec, 'an integer code type; for binary use xnor or binaryConnect')
  if (!scheme.symmetric) throw unsupported('lsq', spec, 'a symmetric scheme; lsqPlus learns an offset')
  if (granularity.kind === 'token' || (role === 'activation' && granularity.kind !== 'tensor')) throw unsupported('lsq', spec, 'a stored scale: per tensor for activations')
  const range = codeRange(dtype)
  if (role === 'weight' && range.min === 0) throw unsupported('lsq', spec, 'a signed type for weights')
  const seen = role === 'activation' ? [{ name: 'seen', shape: [], initial: new Float32Array(1), trainable: false }] : []

  return {
    scheme,
    variables(data) {
      const shape = spec.shape.map((s) => s ?? 1)
      const grid = paramShape(granularity, shape)
      const count = grid.reduce((a, b) => a * b, 1)
      const initial = data === undefined ? new Float32Array(count).fill(1e-2) : start === 'paper' ? lsqPaperScales(data, shape, granularity, range) : leastSquaresScales(data, shape, granularity, range)
      return [positiveVariable('scale', grid, initial), ...seen]
    },
    forward<T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): T {
      if (role === 'activation' && state.training) {
        if (state.step < observeSteps) {
          const first = start === 'paper' ? ops.mul(ops.constant(2 / Math.sqrt(range.max)), ops.mean(ops.abs(ops.stopGradient(x)))) : searchScale(ops, x, range)
          writePositive(ops, state, 'scale', first)
        }
        state.write('seen', ops.constant(1))
      }
      const y = lsqQuantize(ops, x, readPositive(ops, state, 'scale'), { range, granularity })
      if (role === 'weight' || state.training) return y
      return ops.where(ops.greaterEqual(state.read('seen'), ops.constant(0.5)), y, x)
    },
    quantize<T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): Rounded<T> {
      const g = granules(ops, granularity, ops.shape(x))
      const scales = readPositive(ops, state, 'scale')
      return { codes: g.unview(lsqCodes(ops, ops.div(g.view(x), g.spread(scales)), range)), scales }
    },
    ...(role === 'weight' ? { rescaled: (read, factors) => rescaledPositive(read, 'scale', granularity, factors) } : {}),
    ...(role === 'activation'
      ? {
          activation: (read): ActivationRule => {
            requireSeen(read)
            return { kind: 'static', dtype, scale: positiveValues(read, 'scale')[0], zeroPoint: 0 }
          },
        }
      : {}),
  }
}
