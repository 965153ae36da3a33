import type { ActivationRule, FakeQuant, FakeQuantSpec, FakeQuantState, Ops, Rounded, TrainingAlgorithm } from '@lowbit/core'
import { codeRange, granuleIndex, isIntegerCode, paramShape, roundHalfEven } from '@lowbit/core'
import { granules } from './granules.js'
import { lsqCodes, lsqGradientScale, lsqQuantize, type LsqQuantizeOptions } from './lsq.js'
import { onceSeen, rangeVariables, requireSeen } from './observer.js'
import { algorithm, unsupported } from './plugin.js'
import { positiveVariable, positiveValues, readPositive, rescaledPositive, writePositive } from './positive.js'
import { asymmetricFromRange, clampTo, insideOf, SMALLEST_NORMAL } from './scale-rule.js'

export interface LsqPlusQuantizeOptions extends LsqQuantizeOptions {
  /** Multiplies the offset's gradient. Default 1. */
  readonly offsetGradientScale?: number
}

/**
 * LSQ+ (Bhalgat et al. 2020): `rint(clamp((x - β)/s)) · s + β`. `dβ` sums dy over clipped elements; `ds` as LSQ with `v = (x - β)/s`.
 * @param scale, offset in the shape of the granule grid
 */
export function lsqPlusQuantize<T>(ops: Ops<T>, x: T, scale: T, offset: T, options: LsqPlusQuantizeOptions): T {
  const g = granules(ops, options.granularity, ops.shape(x))
  return lsqPlusOperation(ops, x, scale, offset, options, (v, s, b) => {
    const view = ops.div(ops.sub(g.view(v), b), s)
    return { ratio: view, output: ops.add(ops.mul(lsqCodes(ops, view, options.range), s), b) }
  })
}

/**
 * The same with the offset moved onto the grid, `β = -zp · s` with a whole zero point in the code range: what an integer
 * model can compute. The gradients are those of {@link lsqPlusQuantize}.
 */
export function lsqPlusSnapped<T>(ops: Ops<T>, x: T, scale: T, offset: T, options: LsqPlusQuantizeOptions): T {
  const g = granules(ops, options.granularity, ops.shape(x))
  return lsqPlusOperation(ops, x, scale, offset, options, (v, s, b) => {
    const zeroPoint = snappedZeroPoint(ops, s, b, options)
    const view = g.view(v)
    const codes = snappedCodes(ops, view, s, zeroPoint, options)
    return { ratio: ops.add(ops.div(view, s), zeroPoint), output: ops.mul(ops.sub(codes, zeroPoint), s) }
  })
}

const snappedZeroPoint = <T>(ops: Ops<T>, s: T, b: T, { range }: LsqPlusQuantizeOptions): T => clampTo(ops, ops.rint(ops.div(ops.neg(b), s)), range)
const snappedCodes = <T>(ops: Ops<T>, view: T, s: T, zeroPoint: T, { range }: LsqPlusQuantizeOptions): T => clampTo(ops, ops.add(ops.rint(ops.div(view, s)), zeroPoint), range)

function lsqPlusOperation<T>(ops: Ops<T>, x: T, scale: T, offset: T, options: LsqPlusQuantizeOptions, compute: (x: T, s: T, b: T) => { readonly ratio: T; readonly output: T }): T {
  const { range, granularity, offsetGradientScale = 1 } = options
  const g = granules(ops, granularity, ops.shape(x))
  return ops.custom(
    [x, scale, offset],
    ([v, s, b]) => {
      const { ratio, output } = compute(v, g.spread(s), g.spread(b))
      const inside = insideOf(ops, ratio, range)
      return { output: g.unview(output), saved: [inside, ops.sub(lsqCodes(ops, ratio, range), ops.mul(inside, ratio))] }
    },
    (dy, [inside, slope]) => {
      const flowing = g.view(dy)
      const clipped = ops.sum(ops.mul(flowing, ops.sub(ops.constant(1), inside)), g.axes, true)
      return [
        g.unview(ops.mul(flowing, inside)),
        ops.mul(g.grid(ops.sum(ops.mul(flowing, slope), g.axes, true)), lsqGradientScale(ops, g, range, options.gradientScale)),
        ops.mul(g.grid(clipped), ops.constant(offsetGradientScale)),
      ]
    },
  )
}

/** First scale of weights: `max(|μ - 3σ|, |μ + 3σ|) / 2^(bits-1)`, one a granule, population σ. */
export function lsqPlusWeightScales(data: Float32Array, shape: readonly number[], granularity: LsqQuantizeOptions['granularity'], bits: number): Float32Array {
  const count = paramShape(granularity, shape).reduce((a, b) => a * b, 1)
  const of = granuleIndex(granularity, shape)
  const sizes = new Float64Array(count)
  const means = new Float64Array(count)
  const squares = new Float64Array(count)
  data.forEach((_, i) => (sizes[of(i)] += 1))
  data.forEach((v, i) => (means[of(i)] += v / sizes[of(i)]))
  data.forEach((v, i) => (squares[of(i)] += (v - means[of(i)]) ** 2 / sizes[of(i)]))
  return Float32Array.from(means, (mean, i) => {
    const spread = 3 * Math.sqrt(squares[i])
    return Math.max(Math.abs(mean - spread), Math.abs(mean + spread)) / 2 ** (bits - 1)
  })
}

/**
 * LSQ+: activations with a learned scale and offset (asymmetric schemes; the offset is kept on the grid so that the model can be
 * deployed in integers); weights as LSQ, starting from three standard deviations.
 */
export function lsqPlus(): TrainingAlgorithm {
  return algorithm('lsq-plus', {}, (spec) => (spec.role === 'weight' ? lsqPlusWeight(spec) : lsqPlusActivation(spec)))
}

function lsqPlusWeight(spec: FakeQuantSpec): FakeQuant {
  const { scheme } = spec
  const { dtype, granularity } = scheme
  if (!isIntegerCode(dtype) || dtype === 'binary' || !scheme.symmetric || granularity.kind === 'token') throw unsupported('lsqPlus', spec, 'symmetric integer weights')
  const range = codeRange(dtype)
  if (range.min === 0) throw unsupported('lsqPlus', spec, 'a signed type for weights')
  const bits = Math.max(2, Math.ceil(Math.log2(range.max - range.min + 1)))
  return {
    scheme,
    variables(data) {
      const shape = spec.shape.map((s) => s ?? 1)
      const grid = paramShape(granularity, shape)
      const count = grid.reduce((a, b) => a * b, 1)
      return [positiveVariable('scale', grid, data === undefined ? new Float32Array(count).fill(1e-2) : lsqPlusWeightScales(data, shape, granularity, bits))]
    },
    forward: <T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): T => lsqQuantize(ops, x, readPositive(ops, state, 'scale'), { range, granularity }),
    quantize<T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): Rounded<T> {
      const g = granules(ops, granularity, ops.shape(x))
      const scales = readPositive(ops, state, 'scale')
      return { codes: g.unview(lsqCodes(ops, ops.div(g.view(x), g.spread(scales)), range)), scales }
    },
    rescaled: (read, factors) => rescaledPositive(read, 'scale', granularity, factors),
  }
}

function lsqPlusActivation(spec: FakeQuantSpec): FakeQuant {
  const { scheme } = spec
  const { dtype, granularity } = scheme
  if (!isIntegerCode(dtype) || dtype === 'binary' || dtype === 'ternary' || scheme.symmetric || granularity.kind !== 'tensor') throw unsupported('lsqPlus', spec, 'asymmetric integer activations per tensor')
  const range = codeRange(dtype)
  const options: LsqPlusQuantizeOptions = { range, granularity }
  return {
    scheme,
    variables: () => [positiveVariable('scale', [], [1e-2]), { name: 'offset', shape: [], initial: new Float32Array(1), trainable: true }, ...rangeVariables().filter(({ name }) => name === 'seen')],
    forward<T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): T {
      if (state.training) {
        if (state.step === 0) {
          const values = ops.stopGradient(x)
          const { scale, zeroPoint } = asymmetricFromRange(ops, ops.min(values), ops.max(values), range, SMALLEST_NORMAL)
          writePositive(ops, state, 'scale', scale)
          state.write('offset', ops.neg(ops.mul(zeroPoint, scale)))
        }
        state.write('seen', ops.constant(1))
      }
      return onceSeen(ops, state, lsqPlusSnapped(ops, x, readPositive(ops, state, 'scale'), state.read('offset'), options), x)
    },
    quantize<T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): Rounded<T> {
      const scales = readPositive(ops, state, 'scale')
      const zeroPoints = snappedZeroPoint(ops, scales, state.read('offset'), options)
      return { codes: snappedCodes(ops, x, scales, zeroPoints, options), scales, zeroPoints }
    },
    activation(read): ActivationRule {
      requireSeen(read)
      const scale = positiveValues(read, 'scale')[0]
      const zeroPoint = Math.min(range.max, Math.max(range.min, roundHalfEven(-read('offset')[0] / scale)))
      return { kind: 'static', dtype, scale, zeroPoint }
    },
  }
}
