import type { DeclarationsOf, Granularity, Ops, TrainingAlgorithm } from '@lowbit/core'
import { resolveOptions } from '@lowbit/core'
import { hardTanhMask, signCodes } from './binary-connect.js'
import { granules } from './granules.js'
import { algorithm, unsupported } from './plugin.js'

/**
 * Which gradient goes through `α·sign(w)`, α = mean|w| of the filter:
 * - `chain-rule` (default): α depends on every weight of the filter: `α·mask·dy + sign(w)/n · Σ dy·sign(w)`.
 * - `paper`: the per-element shortcut that is printed, `dy · (1/n + α·mask)`.
 * - `alpha-constant`: `dy · α · mask`.
 */
export type XnorGradient = 'chain-rule' | 'paper' | 'alpha-constant'

export interface XnorOptions {
  readonly gradient?: XnorGradient
}

/** What {@link xnor} takes. */
export const XNOR_OPTIONS = {
  gradient: { type: 'choice', values: ['chain-rule', 'paper', 'alpha-constant'], default: 'chain-rule', about: 'how the gradient passes the sign and the scale' },
} as const satisfies DeclarationsOf<XnorOptions>

/** XNOR-Net / binary-weight networks (Rastegari et al. 2016): `mean|w| · sign(w)`, one scale a granule. */
export function xnorQuantize<T>(ops: Ops<T>, w: T, granularity: Granularity, gradient: XnorGradient = 'chain-rule'): T {
  const g = granules(ops, granularity, ops.shape(w))
  return ops.custom(
    [w],
    ([v]) => {
      const view = g.view(v)
      const sign = signCodes(ops, view)
      const alpha = g.spread(xnorScales(ops, v, granularity))
      return { output: g.unview(ops.mul(alpha, sign)), saved: [alpha, sign, hardTanhMask(ops, view)] }
    },
    (dy, [alpha, sign, inside]) => {
      const flowing = g.view(dy)
      const direct = ops.mul(flowing, ops.mul(alpha, inside))
      if (gradient === 'alpha-constant') return [g.unview(direct)]
      const counts = g.spread(ops.add(g.counts(), ops.mul(ops.constant(0), g.grid(alpha))))
      if (gradient === 'paper') return [g.unview(ops.add(direct, ops.div(flowing, counts)))]
      const through = ops.div(ops.sum(ops.mul(flowing, sign), g.axes, true), counts)
      return [g.unview(ops.add(direct, ops.mul(sign, through)))]
    },
  )
}

/** `mean|w|` of each granule; a short last group divides by its own length. */
export function xnorScales<T>(ops: Ops<T>, w: T, granularity: Granularity): T {
  const g = granules(ops, granularity, ops.shape(w))
  return ops.div(g.grid(ops.sum(ops.abs(g.view(w)), g.axes, true)), g.counts())
}

/** Binary weights with a scale that follows from them: per channel (a filter) or group. */
export function xnor(options: XnorOptions = {}): TrainingAlgorithm {
  const { gradient } = resolveOptions<XnorOptions, typeof XNOR_OPTIONS>(XNOR_OPTIONS, options, 'xnor')
  return algorithm('xnor', { gradient }, (spec) => {
    const { dtype, granularity } = spec.scheme
    if (spec.role !== 'weight' || dtype !== 'binary' || granularity.kind === 'token') throw unsupported('xnor', spec, 'binary weights')
    return {
      scheme: spec.scheme,
      variables: () => [],
      forward: (ops, x) => xnorQuantize(ops, x, granularity, gradient),
      quantize: (ops, x) => ({ codes: signCodes(ops, x), scales: xnorScales(ops, x, granularity) }),
    }
  })
}
