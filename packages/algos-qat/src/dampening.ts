import type { DeclarationsOf, FakeQuant, FakeQuantState, Ops, TrainingAlgorithm } from '@lowbit/core'
import { codeRange, isIntegerCode, resolveOptions } from '@lowbit/core'
import { ANNEAL_OPTIONS, annealed, type Anneal } from './anneal.js'
import { granules } from './granules.js'
import { algorithm, unsupported } from './plugin.js'

/**
 * Dampening loss (Nagel et al. 2022, eq. 6): `λ · Σ (sg(ŵ) - clip(w))²` pulls latent weights to the middle of their bins, away from
 * the boundaries they oscillate around. Weights outside `[low, high]` get no gradient.
 */
export function dampeningLoss<T>(ops: Ops<T>, w: T, quantized: T, low: T, high: T, lambda: number): T {
  const distance = ops.sub(ops.stopGradient(quantized), ops.minimum(ops.maximum(w, low), high))
  return ops.mul(ops.constant(lambda), ops.sum(ops.mul(distance, distance)))
}

export interface DampeningOptions {
  /** λ over the training. Default from 0 to 0.1 in 1,000 steps. */
  readonly lambda?: Anneal
}

/** What {@link withDampening} takes. */
export const DAMPENING_OPTIONS = {
  lambda: { type: 'options', options: ANNEAL_OPTIONS, default: { from: 0, to: 0.1, steps: 1000 }, about: 'weight of the loss over the training' },
} as const satisfies DeclarationsOf<DampeningOptions>

/** Adds the dampening loss to an estimator's weights. */
export function withDampening(inner: TrainingAlgorithm, options: DampeningOptions = {}): TrainingAlgorithm {
  const { lambda } = resolveOptions<DampeningOptions, typeof DAMPENING_OPTIONS>(DAMPENING_OPTIONS, options, 'withDampening')
  return algorithm('dampening', { lambda: { ...lambda }, of: { name: inner.name, version: inner.version, config: inner.config } }, (spec) => {
    const fakeQuant = inner.fakeQuant(spec)
    if (spec.role !== 'weight') return fakeQuant
    const { dtype } = fakeQuant.scheme
    if (!isIntegerCode(dtype)) throw unsupported('withDampening', spec, 'integer weights')
    const range = codeRange(dtype)
    return {
      ...fakeQuant,
      penalty<T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): T {
        const g = granules(ops, fakeQuant.scheme.granularity, ops.shape(x))
        const { codes, scales, zeroPoints } = fakeQuant.quantize(ops, ops.stopGradient(x), state)
        const scale = ops.stopGradient(g.spread(scales))
        const offset = zeroPoints === undefined ? ops.constant(0) : g.spread(zeroPoints)
        const value = (code: T): T => ops.mul(ops.sub(code, offset), scale)
        const own = dampeningLoss(ops, g.view(x), value(g.view(codes)), value(ops.constant(range.min)), value(ops.constant(range.max)), annealed(lambda, state.step))
        const before = fakeQuant.penalty?.(ops, x, state)
        return before === undefined ? own : ops.add(before, own)
      },
    } satisfies FakeQuant
  })
}
