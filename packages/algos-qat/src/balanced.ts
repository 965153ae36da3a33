import type { FakeQuant, FakeQuantSpec, FakeQuantState, Granularity, Ops, Rounded, TrainingAlgorithm } from '@lowbit/core'
import { codeRange, isIntegerCode, paramShape } from '@lowbit/core'
import { granules } from './granules.js'
import { leastSquaresScales } from './least-squares.js'
import { lsqGradientScale } from './lsq.js'
import { algorithm, unsupported } from './plugin.js'
import { positiveVariable, readPositive, rescaledPositive } from './positive.js'
import { clampTo, insideOf, type CodeRange } from './scale-rule.js'

export interface BalancedQuantizeOptions {
  readonly range: CodeRange
  readonly granularity: Granularity
  readonly gradientScale?: number
}

const HALF = 0.5

/** `clamp(rint(v/s - ½))`: codes whose values are `(code + ½) · s`. */
const balancedCodes = <T>(ops: Ops<T>, ratio: T, range: CodeRange): T => clampTo(ops, ops.rint(ops.sub(ratio, ops.constant(HALF))), range)

/**
 * Levels ±½·s, ±1½·s, … with a learned scale (the stretched quantizer of ParetoQ, Liu et al. 2025, at two bits): as many levels
 * below zero as above, none wasted on -2 or on 0. Gradient to v where v lies within half a step of a level;
 * `ds = level - v/s` there, the outermost level outside.
 * @param scale in the shape of the granule grid
 */
export function balancedQuantize<T>(ops: Ops<T>, v: T, scale: T, options: BalancedQuantizeOptions): T {
  const { range, granularity } = options
  const g = granules(ops, granularity, ops.shape(v))
  const bounds: CodeRange = { min: range.min, max: range.max + 1 }
  return ops.custom(
    [v, scale],
    ([x, s]) => {
      const spread = g.spread(s)
      const ratio = ops.div(g.view(x), spread)
      const levels = ops.add(balancedCodes(ops, ratio, range), ops.constant(HALF))
      const inside = insideOf(ops, ratio, bounds)
      return { output: g.unview(ops.mul(levels, spread)), saved: [inside, ops.sub(levels, ops.mul(inside, ratio))] }
    },
    (dy, [inside, slope]) => {
      const flowing = g.view(dy)
      // What fills up a short group rounds to ±½, not to 0: dy is 0 there, so it adds nothing.
      const ds = g.grid(ops.sum(ops.mul(flowing, slope), g.axes, true))
      return [g.unview(ops.mul(flowing, inside)), ops.mul(ds, lsqGradientScale(ops, g, range, options.gradientScale))]
    },
  )
}

/** Learned-scale weights on balanced levels. At two bits they beat -2…1; from three bits on take {@link lsq}. */
export function balanced(): TrainingAlgorithm {
  return algorithm('balanced', {}, balancedFakeQuant)
}

function balancedFakeQuant(spec: FakeQuantSpec): FakeQuant {
  const { dtype, granularity } = spec.scheme
  if (spec.role !== 'weight' || !isIntegerCode(dtype) || dtype === 'binary' || dtype === 'ternary' || granularity.kind === 'token' || codeRange(dtype).min === 0) throw unsupported('balanced', spec, 'signed integer weights')
  const range = codeRange(dtype)
  return {
    scheme: { ...spec.scheme, symmetric: false, zeroPoint: 'float' },
    variables(data) {
      const shape = spec.shape.map((s) => s ?? 1)
      const grid = paramShape(granularity, shape)
      const count = grid.reduce((a, b) => a * b, 1)
      return [positiveVariable('scale', grid, data === undefined ? new Float32Array(count).fill(1e-2) : leastSquaresScales(data, shape, granularity, range, { offset: HALF }))]
    },
    forward: <T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): T => balancedQuantize(ops, x, readPositive(ops, state, 'scale'), { range, granularity }),
    quantize<T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): Rounded<T> {
      const g = granules(ops, granularity, ops.shape(x))
      const scales = readPositive(ops, state, 'scale')
      return {
        codes: g.unview(balancedCodes(ops, ops.div(g.view(x), g.spread(scales)), range)),
        scales,
        zeroPoints: ops.add(ops.mul(scales, ops.constant(0)), ops.constant(-HALF)),
      }
    },
    rescaled: (read, factors) => rescaledPositive(read, 'scale', granularity, factors),
  }
}
