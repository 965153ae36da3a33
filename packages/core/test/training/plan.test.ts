import { describe, expect, it } from 'vitest'
import type { FakeQuant, TrainingAlgorithm, TrainingLayer } from '../../src/contract/v2/training.js'
import { LowbitError } from '../../src/errors.js'
import { int4, int8 } from '../../src/weight-scheme.js'
import { orient, planTraining } from '../../src/training/plan.js'

const identity = (scheme: FakeQuant['scheme']): FakeQuant => ({ scheme, variables: () => [], forward: (_, x) => x, quantize: (ops, x) => ({ codes: x, scales: ops.constant(1) }) })
const algorithm: TrainingAlgorithm = {
  kind: 'training', name: '@lowbit/core/identity', version: '1.0.0', apiVersion: 2, config: {},
  fakeQuant(spec) {
    if (spec.shape.includes(7)) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'identity', found: 'a size of 7' })
    return identity(spec.scheme)
  },
}
const layers: TrainingLayer[] = [
  { id: 'body/dense', kind: 'linear', op: 'Dense', rows: 4, columns: 8, orientation: 'KN', input: [null, 8] },
  { id: 'body/odd', kind: 'linear', op: 'Dense', rows: 7, columns: 8, orientation: 'NK', input: [null, 8] },
  { id: 'words', kind: 'embedding', op: 'Embedding', rows: 30, columns: 8, orientation: 'NK' },
]
const weights = { scheme: int4({ group: 4 }), algorithm }
const activations = { scheme: int8({ perTensor: true }), algorithm }

describe('planTraining', () => {
  it('turns the axes of [N, K] schemes to how the weight lies', () => {
    const [dense, , words] = planTraining(layers, { weights }).layers
    expect(dense.weight?.spec).toMatchObject({ shape: [8, 4], scheme: { granularity: { kind: 'group', axis: 0, size: 4 } } })
    expect(words.weight?.spec).toMatchObject({ shape: [30, 8], scheme: { granularity: { kind: 'group', axis: 1, size: 4 } } })
    expect(orient(orient(int8(), 'KN'), 'KN')).toEqual(int8())
  })

  it('names everything that stays in float, with the reason', () => {
    const { float } = planTraining(layers, { weights, activations, overrides: [{ match: 'body/dense', activations: null }] }, [{ id: 'lstm', reason: 'LSTM is not known' }])
    expect(float).toEqual([
      { layer: 'body/dense', part: 'activation', reason: 'the recipe leaves it in float' },
      { layer: 'body/odd', part: 'weight', reason: expect.stringContaining('a size of 7') },
      { layer: 'words', part: 'activation', reason: expect.stringContaining('indices') },
      { layer: 'lstm', part: 'weight', reason: 'LSTM is not known' },
    ])
  })

  it('says nothing of activations that no recipe asked for', () => {
    expect(planTraining(layers.slice(0, 1), { weights }).float).toEqual([])
  })

  it('lets the last override that matches win', () => {
    const { layers: planned } = planTraining(layers, { weights, overrides: [{ match: 'body/*', weights: null }, { match: '*/dense', weights: { scheme: int8(), algorithm } }] })
    expect(planned.map((p) => p.weight?.target.scheme.dtype)).toEqual(['int8', undefined, 'int4'])
  })

  it('refuses an override that matches nothing, and a plugin of another kind or version', () => {
    expect(() => planTraining(layers, { overrides: [{ match: 'tail/*', weights: null }] })).toThrow(/LOWBIT_NOT_FOUND.*tail/)
    const old = { ...algorithm, apiVersion: 0 as number as 2 }
    expect(() => planTraining(layers, { weights: { scheme: int8(), algorithm: old } })).toThrow(/LOWBIT_API_VERSION/)
  })
})
