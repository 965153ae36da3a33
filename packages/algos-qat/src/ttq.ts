import type { DeclarationsOf, FakeQuant, FakeQuantSpec, FakeQuantState, Ops, Rounded, TrainingAlgorithm } from '@lowbit/core'
import { LowbitError, resolveOptions } from '@lowbit/core'
import { algorithm, unsupported } from './plugin.js'
import { positiveVariable, readPositive } from './positive.js'

export interface TtqOptions {
  /** Share of max|w| below which a weight is 0. Default 0.05. */
  readonly threshold?: number
  /** One learned value for both signs, so that the layer can be converted to ternary codes with one scale. Default false, the paper's. */
  readonly tied?: boolean
}

/** What {@link ttq} takes. */
export const TTQ_OPTIONS = {
  threshold: { type: 'number', minimum: 0, below: 1, default: 0.05, about: 'share of max|w| below which a weight is 0' },
  tied: { type: 'boolean', default: false, about: 'one learned value for both signs' },
} as const satisfies DeclarationsOf<TtqOptions>

/** 1, 0 or -1: `w > t·max|w|`, between, `w < -t·max|w|`; a weight at the threshold is 0. */
export function ttqCodes<T>(ops: Ops<T>, w: T, threshold: number): T {
  const delta = ops.mul(ops.constant(threshold), ops.max(ops.abs(w)))
  const one = ops.constant(1)
  return ops.sub(ops.sub(one, ops.greaterEqual(delta, w)), ops.sub(one, ops.greaterEqual(w, ops.neg(delta))))
}

/**
 * Trained ternary quantization (Zhu et al. 2017): positives become Wp, negatives -Wn. `dw = dy · {Wp, 1, Wn}`,
 * `dWp = Σ dy` over positives, `dWn = -Σ dy` over negatives (the paper prints no minus; the chain rule has it).
 * @param positive, negative scalars Wp and Wn
 */
export function ttqQuantize<T>(ops: Ops<T>, w: T, positive: T, negative: T, threshold: number): T {
  return ops.custom(
    [w, positive, negative],
    ([v, p, n]) => {
      const codes = ttqCodes(ops, v, threshold)
      const up = ops.greaterEqual(codes, ops.constant(0.5))
      const down = ops.greaterEqual(ops.constant(-0.5), codes)
      const output = ops.sub(ops.mul(up, p), ops.mul(down, n))
      const zero = ops.sub(ops.constant(1), ops.add(up, down))
      return { output, saved: [up, down, ops.add(zero, ops.add(ops.mul(up, p), ops.mul(down, n)))] }
    },
    (dy, [up, down, factor]) => [
      ops.mul(dy, factor),
      ops.reshape(ops.sum(ops.mul(dy, up)), ops.shape(positive)),
      ops.reshape(ops.neg(ops.sum(ops.mul(dy, down))), ops.shape(negative)),
    ],
  )
}

/** Ternary weights with learned values, one pair a tensor. Both stay positive. */
export function ttq(options: TtqOptions = {}): TrainingAlgorithm {
  const { threshold, tied } = resolveOptions<TtqOptions, typeof TTQ_OPTIONS>(TTQ_OPTIONS, options, 'ttq')
  return algorithm('ttq', { threshold, tied }, (spec) => ttqFakeQuant(spec, { threshold, tied }))
}

function ttqFakeQuant(spec: FakeQuantSpec, { threshold, tied }: Required<TtqOptions>): FakeQuant {
  const { scheme } = spec
  if (spec.role !== 'weight' || scheme.dtype !== 'ternary' || scheme.granularity.kind !== 'tensor') throw unsupported('ttq', spec, 'ternary weights, granularity tensor')
  const negativeName = tied ? 'positive' : 'negative'
  return {
    scheme,
    variables(data = new Float32Array()) {
      const delta = threshold * data.reduce((m, v) => Math.max(m, Math.abs(v)), 0)
      const mean = (values: Float32Array): number => (values.length === 0 ? 1 : values.reduce((a, b) => a + Math.abs(b), 0) / values.length)
      if (tied) return [positiveVariable('positive', [], [mean(data.filter((v) => Math.abs(v) > delta))])]
      return [positiveVariable('positive', [], [mean(data.filter((v) => v > delta))]), positiveVariable('negative', [], [mean(data.filter((v) => v < -delta))])]
    },
    forward: <T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): T => ttqQuantize(ops, x, readPositive(ops, state, 'positive'), readPositive(ops, state, negativeName), threshold),
    quantize<T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): Rounded<T> {
      if (!tied) {
        throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'ttq', found: 'different values for positive and negative weights', expected: 'one scale: codes -1, 0, 1 mean -s, 0, s', fix: 'train with ttq({ tied: true }), or keep the layer in float' })
      }
      return { codes: ttqCodes(ops, x, threshold), scales: readPositive(ops, state, 'positive') }
    },
  }
}
