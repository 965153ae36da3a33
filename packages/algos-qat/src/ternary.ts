import type { DeclarationsOf, Granularity, Ops, TrainingAlgorithm } from '@lowbit/core'
import { resolveOptions } from '@lowbit/core'
import { granules } from './granules.js'
import { algorithm, unsupported } from './plugin.js'
import { SMALLEST_NORMAL } from './scale-rule.js'

export interface TernaryOptions {
  /** Δ as a share of mean|w|. Default 0.7, the paper's. */
  readonly threshold?: number
}

/** What {@link ternary} takes. */
export const TERNARY_OPTIONS = {
  threshold: { type: 'number', minimum: 0, default: 0.7, about: 'share of mean|w| below which a weight is 0' },
} as const satisfies DeclarationsOf<TernaryOptions>

/**
 * Ternary weight networks (Li & Liu 2016): `|w| > Δ = t·mean|w|` becomes ±α, α the mean of those |w|, one pair a granule.
 * The gradient passes unmasked.
 */
export function ternaryQuantize<T>(ops: Ops<T>, w: T, granularity: Granularity, threshold = 0.7): T {
  const g = granules(ops, granularity, ops.shape(w))
  return ops.custom(
    [w],
    ([v]) => {
      const { codes, scales } = ternaryParts(ops, v, granularity, threshold)
      return { output: g.unview(ops.mul(codes, g.spread(scales))), saved: [] }
    },
    (dy) => [dy],
  )
}

function ternaryParts<T>(ops: Ops<T>, w: T, granularity: Granularity, threshold: number): { readonly codes: T; readonly scales: T } {
  const g = granules(ops, granularity, ops.shape(w))
  const view = g.view(w)
  const magnitude = ops.abs(view)
  const delta = g.spread(ops.mul(ops.constant(threshold), ops.div(g.grid(ops.sum(magnitude, g.axes, true)), g.counts())))
  const large = ops.sub(ops.constant(1), ops.greaterEqual(delta, magnitude))
  const count = ops.maximum(ops.sum(large, g.axes, true), ops.constant(1))
  const scales = ops.maximum(ops.div(ops.sum(ops.mul(large, magnitude), g.axes, true), count), ops.constant(SMALLEST_NORMAL))
  return { codes: ops.mul(large, ops.sign(view)), scales: g.grid(scales) }
}

/** Ternary weights whose threshold and scale follow from them, per tensor, channel or group. */
export function ternary(options: TernaryOptions = {}): TrainingAlgorithm {
  const { threshold } = resolveOptions<TernaryOptions, typeof TERNARY_OPTIONS>(TERNARY_OPTIONS, options, 'ternary')
  return algorithm('ternary', { threshold }, (spec) => {
    const { dtype, granularity } = spec.scheme
    if (spec.role !== 'weight' || dtype !== 'ternary' || granularity.kind === 'token') throw unsupported('ternary', spec, 'ternary weights')
    return {
      scheme: spec.scheme,
      variables: () => [],
      forward: (ops, x) => ternaryQuantize(ops, x, granularity, threshold),
      quantize: <T>(ops: Ops<T>, x: T) => {
        const g = granules(ops, granularity, ops.shape(x))
        const { codes, scales } = ternaryParts(ops, x, granularity, threshold)
        return { codes: g.unview(codes), scales }
      },
    }
  })
}
