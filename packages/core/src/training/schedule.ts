import type { FakeQuant, FakeQuantState, Ops, TrainingRecipe } from '../contract/v2/training.js'

/**
 * The last step without rounding, as if it were the first of all: what takes its scale from the first batches takes it from one that
 * the model now makes, not from one of a model that was not trained yet.
 */
function atFirst<T>(state: FakeQuantState<T>, start: number): FakeQuantState<T> {
  return state.step === start - 1 ? { read: (name) => state.read(name), write: (name, value) => state.write(name, value), step: 0, training: state.training } : state
}

/**
 * A fake quantization that starts late, and whose activation observers stand still from a step on.
 * Until it starts, values pass unrounded while observers already watch.
 */
export function scheduled(inner: FakeQuant, part: 'weight' | 'activation', recipe: Pick<TrainingRecipe, 'start' | 'freezeObservers'>): FakeQuant {
  const { start = 0, freezeObservers = Infinity } = recipe
  const freezes = part === 'activation' && freezeObservers !== Infinity
  if (start === 0 && !freezes) return inner
  const frozen = <T>(state: FakeQuantState<T>): FakeQuantState<T> =>
    freezes && state.step >= freezeObservers ? { read: (name) => state.read(name), write: () => undefined, step: state.step, training: false } : state
  const { penalty, project, rescaled, activation } = inner
  return {
    scheme: inner.scheme,
    variables: (data) => inner.variables(data),
    forward<T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): T {
      if (state.step >= start) return inner.forward(ops, x, frozen(state))
      // Only for what the observers write; weights have none, so their scales need not be computed yet.
      if (state.training && part === 'activation') inner.forward(ops, ops.stopGradient(x), frozen(atFirst(state, start)))
      return x
    },
    quantize: (ops, x, state) => inner.quantize(ops, x, state),
    ...(penalty === undefined ? {} : { penalty: <T>(ops: Ops<T>, x: T, state: FakeQuantState<T>): T => (state.step >= start ? penalty.call(inner, ops, x, state) as T : ops.constant(0)) }),
    ...(project === undefined ? {} : { project: <T>(ops: Ops<T>, x: T): T => project.call(inner, ops, x) as T }),
    ...(rescaled === undefined ? {} : { rescaled: (read, factors) => rescaled.call(inner, read, factors) }),
    ...(activation === undefined ? {} : { activation: (read) => activation.call(inner, read) }),
  }
}
