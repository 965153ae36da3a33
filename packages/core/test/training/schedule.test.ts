import { describe, expect, it } from 'vitest'
import type { FakeQuant } from '../../src/contract/v2/training.js'
import { referenceOps } from '../../src/reference/ops.js'
import { int8 } from '../../src/weight-scheme.js'
import { scheduled } from '../../src/training/schedule.js'
import { holdVariables } from '../../src/training/variables.js'

const { ops } = referenceOps()
/** Halves its input and counts the batches it may observe. */
const halving: FakeQuant = {
  scheme: int8({ perTensor: true }),
  variables: () => [{ name: 'seen', shape: [], initial: new Float32Array(1), trainable: false }],
  forward(o, x, state) {
    if (state.training) state.write('seen', o.add(state.read('seen'), o.constant(1)))
    return o.mul(x, o.constant(0.5))
  },
  penalty: (o) => o.constant(3),
  quantize: (o, x) => ({ codes: x, scales: o.constant(1) }),
}
const x = ops.constant(Float32Array.of(8))
const run = (fakeQuant: FakeQuant, steps: number): { values: number[]; seen: number; penalties: (number | undefined)[] } => {
  const held = holdVariables(ops, fakeQuant)
  const values: number[] = []
  const penalties: (number | undefined)[] = []
  for (let step = 0; step < steps; step++) {
    values.push(fakeQuant.forward(ops, x, held.state(step, true)).data[0])
    penalties.push(fakeQuant.penalty?.(ops, x, held.state(step, true)).data[0])
  }
  return { values, seen: held.get('seen').data[0], penalties }
}

describe('scheduled', () => {
  it('passes values unrounded until the start, while observers watch', () => {
    expect(run(scheduled(halving, 'activation', { start: 2 }), 4)).toEqual({ values: [8, 8, 4, 4], seen: 4, penalties: [0, 0, 3, 3] })
  })

  it('freezes the observers of activations, not the state of weights', () => {
    expect(run(scheduled(halving, 'activation', { freezeObservers: 3 }), 5).seen).toBe(3)
    expect(run(scheduled(halving, 'weight', { freezeObservers: 3 }), 5).seen).toBe(5)
  })

  it('is the fake quantization itself without a schedule', () => {
    expect(scheduled(halving, 'weight', {})).toBe(halving)
  })
})

describe('holdVariables', () => {
  it('names a variable that was not declared', () => {
    expect(() => holdVariables(ops, halving).get('scale')).toThrow(/LOWBIT_NOT_FOUND.*scale.*seen/)
  })
})
