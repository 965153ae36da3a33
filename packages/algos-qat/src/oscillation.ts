import type { DeclarationsOf, FakeQuant, FakeQuantSpec, FakeQuantState, FakeQuantVariable, Ops, Rounded, TrainingAlgorithm } from '@lowbit/core'
import { LowbitError, resolveOptions } from '@lowbit/core'
import { granules } from './granules.js'
import { ANNEAL_OPTIONS, annealed, type Anneal } from './anneal.js'
import { algorithm } from './plugin.js'

/** What is remembered of each weight's integer from step to step. */
export interface OscillationTrack<T> {
  readonly previous: T
  /** Sign of the last nonzero change. */
  readonly direction: T
  /** Exponential mean of "this step was an oscillation". */
  readonly frequency: T
  /** Exponential mean of the integer. */
  readonly average: T
  /** 1 where the weight is frozen, at `frozenCode`. */
  readonly frozen: T
  readonly frozenCode: T
}

export interface OscillationStepOptions {
  /** Share of a new step in the means. */
  readonly momentum: number
  /** Frequency over which a weight is frozen. Infinity: only watch. */
  readonly threshold: number
}

/** The track before the first step, whose integers are `codes`. */
export function startOscillation<T>(ops: Ops<T>, codes: T): OscillationTrack<T> {
  const zero = ops.mul(codes, ops.constant(0))
  return { previous: codes, direction: zero, frequency: zero, average: codes, frozen: zero, frozenCode: codes }
}

/** The integers a step uses: frozen ones stay. */
export const usedCodes = <T>(ops: Ops<T>, codes: T, track: Pick<OscillationTrack<T>, 'frozen' | 'frozenCode'>): T => ops.where(track.frozen, track.frozenCode, codes)

/**
 * One training step of the oscillation tracker (Nagel et al. 2022, section 4). A change whose sign is opposite to the last nonzero
 * change is an oscillation; a weight whose frequency exceeds the threshold is frozen at its rounded mean integer, the mean as it
 * was before this step, and refreshed as long as the frequency stays over.
 */
export function oscillationStep<T>(ops: Ops<T>, codes: T, track: OscillationTrack<T>, { momentum, threshold }: OscillationStepOptions): OscillationTrack<T> {
  const used = usedCodes(ops, codes, track)
  const moved = ops.sign(ops.sub(used, track.previous))
  const oscillated = ops.greaterEqual(ops.constant(-0.5), ops.mul(moved, track.direction))
  const m = ops.constant(momentum)
  const rest = ops.constant(1 - momentum)
  const frequency = ops.add(ops.mul(m, oscillated), ops.mul(rest, track.frequency))
  const over = threshold === Infinity ? ops.mul(frequency, ops.constant(0)) : ops.sub(ops.constant(1), ops.greaterEqual(ops.constant(threshold), frequency))
  return {
    previous: used,
    direction: ops.where(moved, moved, track.direction),
    frequency,
    average: ops.add(ops.mul(m, used), ops.mul(rest, track.average)),
    frozen: ops.maximum(track.frozen, over),
    frozenCode: ops.where(over, ops.rint(track.average), track.frozenCode),
  }
}

export interface OscillationOptions {
  /** Default 0.01. */
  readonly momentum?: number
  /** Freezes weights whose frequency is over this. Default: from 0.1 to 0.01 over `steps`. `false`: only watch and report. */
  readonly freeze?: Anneal | false
}

/** What {@link withOscillation} takes. */
export const OSCILLATION_OPTIONS = {
  momentum: { type: 'number', minimum: 0, maximum: 1, default: 0.01, about: 'share of a new step in the means' },
  freeze: { type: 'either', of: [{ type: 'options', options: ANNEAL_OPTIONS }, { type: 'choice', values: [false] }], default: { from: 0.1, to: 0.01, steps: 1000 }, about: 'frequency over which a weight is frozen; false: only watch' },
} as const satisfies DeclarationsOf<OscillationOptions>

const NAMES = ['previous', 'direction', 'frequency', 'average', 'frozen', 'frozenCode'] as const
export const oscillationVariable = (name: (typeof NAMES)[number] | 'started'): string => `oscillation_${name}`

/**
 * Watches the integers of an estimator's weights from step to step and, unless `freeze` is false, freezes those that keep jumping
 * between two levels. The variables carry the report: see {@link oscillationReport}.
 */
export function withOscillation(inner: TrainingAlgorithm, options: OscillationOptions = {}): TrainingAlgorithm {
  const { momentum, freeze } = resolveOptions<OscillationOptions, typeof OSCILLATION_OPTIONS>(OSCILLATION_OPTIONS, options, 'withOscillation')
  return algorithm('oscillation', { momentum, freeze: freeze === false ? false : { ...freeze }, of: { name: inner.name, version: inner.version, config: inner.config } }, (spec) => {
    const fakeQuant = inner.fakeQuant(spec)
    return spec.role === 'weight' ? watched(fakeQuant, spec, momentum, freeze) : fakeQuant
  })
}

function watched(inner: FakeQuant, spec: FakeQuantSpec, momentum: number, freeze: Anneal | false): FakeQuant {
  const shape = spec.shape.map((size) => {
    if (size === null) throw new LowbitError('LOWBIT_SHAPE', { thing: 'oscillation tracking', found: `shape [${spec.shape.join(', ')}]`, expected: 'a weight whose sizes are known' })
    return size
  })
  const count = shape.reduce((a, b) => a * b, 1)
  const { penalty, project, rescaled } = inner
  const readTrack = <T>(state: FakeQuantState<T>): OscillationTrack<T> => ({
    previous: state.read(oscillationVariable('previous')),
    direction: state.read(oscillationVariable('direction')),
    frequency: state.read(oscillationVariable('frequency')),
    average: state.read(oscillationVariable('average')),
    frozen: state.read(oscillationVariable('frozen')),
    frozenCode: state.read(oscillationVariable('frozenCode')),
  })
  const track = <T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): void => {
    const codes = ops.stopGradient(inner.quantize(ops, ops.stopGradient(x), state).codes)
    const begun = state.read(oscillationVariable('started'))
    const before = readTrack(state)
    const first = startOscillation(ops, codes)
    const known = { ...before, previous: ops.where(begun, before.previous, first.previous), average: ops.where(begun, before.average, first.average) }
    const after = oscillationStep(ops, codes, known, { momentum, threshold: freeze === false ? Infinity : annealed(freeze, state.step) })
    for (const name of NAMES) state.write(oscillationVariable(name), ops.stopGradient(after[name]))
    state.write(oscillationVariable('started'), ops.constant(1))
  }
  return {
    scheme: inner.scheme,
    variables(data): readonly FakeQuantVariable[] {
      const own = NAMES.map((name): FakeQuantVariable => ({ name: oscillationVariable(name), shape, initial: new Float32Array(count), trainable: false }))
      return [...inner.variables(data), ...own, { name: oscillationVariable('started'), shape: [], initial: new Float32Array(1), trainable: false }]
    },
    forward<T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): T {
      const y = inner.forward(ops, x, state)
      const { frozen, frozenCode } = readTrack(state)
      let output = y
      if (freeze !== false) {
        const g = granules(ops, inner.scheme.granularity, ops.shape(x))
        const { scales, zeroPoints } = inner.quantize(ops, ops.stopGradient(x), state)
        const levels = zeroPoints === undefined ? g.view(frozenCode) : ops.sub(g.view(frozenCode), g.spread(zeroPoints))
        output = ops.where(frozen, g.unview(ops.mul(levels, g.spread(scales))), y)
      }
      if (state.training) track(ops, x, state)
      return output
    },
    quantize<T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): Rounded<T> {
      const rounded = inner.quantize(ops, x, state)
      return { ...rounded, codes: usedCodes(ops, rounded.codes, readTrack(state)) }
    },
    ...(penalty === undefined ? {} : { penalty: <T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): T => penalty.call(inner, ops, x, state) as T }),
    ...(project === undefined ? {} : { project: <T>(ops: Ops<T>, x: T): T => project.call(inner, ops, x) as T }),
    ...(rescaled === undefined ? {} : { rescaled: (read, factors) => rescaled.call(inner, read, factors) }),
  }
}
