import type { FakeQuant, FakeQuantState, FakeQuantVariable, Ops } from '../contract/v2/training.js'
import { LowbitError } from '../errors.js'

/** The variables of one {@link FakeQuant} held as plain tensors: for tests, and for training loops without a framework's own variables. */
export interface HeldVariables<T> {
  readonly definitions: readonly FakeQuantVariable[]
  get(name: string): T
  set(name: string, value: T): void
  /** State for a forward pass. `overrides` take the place of variables: what a gradient is asked for. */
  state(step: number, training: boolean, overrides?: Readonly<Record<string, T>>): FakeQuantState<T>
}

/** @throws LOWBIT_NOT_FOUND when a name is read or written that the fake quantization did not declare. */
export function holdVariables<T>(ops: Ops<T>, fakeQuant: FakeQuant, data?: Float32Array): HeldVariables<T> {
  const definitions = fakeQuant.variables(data)
  const values = new Map(definitions.map((v) => [v.name, ops.constant(v.initial, v.shape)]))
  const get = (name: string): T => {
    const value = values.get(name)
    if (value === undefined) {
      throw new LowbitError('LOWBIT_NOT_FOUND', { thing: `fake-quantization variable '${name}'`, found: 'not declared', expected: `one of ${definitions.map((v) => v.name).join(', ') || 'none'}` })
    }
    return value
  }
  const set = (name: string, value: T): void => {
    get(name)
    values.set(name, ops.stopGradient(value))
  }
  return {
    definitions,
    get,
    set,
    state: (step, training, overrides = {}) => ({ read: (name) => overrides[name] ?? get(name), write: set, step, training }),
  }
}
