import { describe, it } from 'vitest'
import { referenceOps, weightScheme, type FakeQuantSpec, type IntegerCode, type Scheme, type SchemeOptions } from '@lowbit/core'
import { trainingSuite, type TrainingSuiteCase } from '@lowbit/core/testkit'
import { balanced, binaryConnect, dorefa, int8PerTensor, int8PerToken, lsq, lsqPlus, pact, ste, ternary, ttq, unsignedPerTensor, withDampening, withOscillation, xnor } from '../src/index.js'

const runner = { describe, it }
const backend = (): ReturnType<typeof referenceOps> => referenceOps()

/** A row of 20 does not divide into groups of 8: the last group is short. */
const weight = (dtype: IntegerCode, options: SchemeOptions = {}, more: Partial<TrainingSuiteCase> = {}): TrainingSuiteCase => ({ spec: { scheme: weightScheme(dtype, options), shape: [6, 20], role: 'weight' }, shape: [6, 20], from: -0.3, to: 0.3, ...more })
const activation = (scheme: Scheme, from: number, to: number): TrainingSuiteCase => ({ spec: { scheme, shape: [null, 12], role: 'activation' }, shape: [5, 12], from, to })
/** Weights that lie as `[K, N]`, as in tfjs. */
const turned = (spec: FakeQuantSpec): TrainingSuiteCase => ({ spec, shape: [20, 6] })

const everyWidth = (['int8', 'int4', 'int3', 'int2'] as const).flatMap((dtype) => [weight(dtype, { perTensor: true }), weight(dtype), weight(dtype, { group: 8 })])
const lyingKN = [
  turned({ scheme: { dtype: 'int4', granularity: { kind: 'channel', axis: 1 }, symmetric: true }, shape: [20, 6], role: 'weight' }),
  turned({ scheme: { dtype: 'int4', granularity: { kind: 'group', axis: 0, size: 8 }, symmetric: true }, shape: [20, 6], role: 'weight' }),
]

trainingSuite(runner, 'ste', () => ste(), [...everyWidth, ...lyingKN, weight('uint4', { group: 8, symmetric: false }), activation(int8PerToken(), -2, 3), activation(int8PerTensor(), -2, 3), activation({ ...int8PerTensor(), dtype: 'uint8' }, 0, 3)], backend)
trainingSuite(runner, 'ste, half range', () => ste({ rule: 'half-range' }), everyWidth, backend)
trainingSuite(runner, 'lsq', () => lsq(), [...everyWidth, ...lyingKN, weight('ternary'), weight('ternary', { group: 8 }), activation(unsignedPerTensor(4), 0, 2), activation(unsignedPerTensor(2), 0, 2), activation({ ...unsignedPerTensor(8), dtype: 'int8' }, -1, 2)], backend)
trainingSuite(runner, 'lsq from the paper’s scale', () => lsq({ start: 'paper' }), [weight('int4', { group: 8 }), activation(unsignedPerTensor(4), 0, 2)], backend)
trainingSuite(runner, 'lsqPlus', () => lsqPlus(), [weight('int4'), activation({ ...int8PerTensor(), dtype: 'uint4' }, -0.3, 2), activation(int8PerTensor(), -2, 3)], backend)
trainingSuite(runner, 'pact', () => pact({ alpha: 1.5 }), [activation(unsignedPerTensor(4), -0.2, 2)], backend)
trainingSuite(runner, 'dorefa', () => dorefa(), [weight('binary', { perTensor: true }), weight('int2', { perTensor: true }), weight('uint3', { perTensor: true }), weight('int4', { perTensor: true }), activation(unsignedPerTensor(2), -0.5, 1.5)], backend)
trainingSuite(runner, 'ttq', () => ttq(), [weight('ternary', { perTensor: true }, { notConvertible: true })], backend)
trainingSuite(runner, 'ttq, tied', () => ttq({ tied: true }), [weight('ternary', { perTensor: true })], backend)
trainingSuite(runner, 'ternary', () => ternary(), [weight('ternary', { perTensor: true }), weight('ternary'), weight('ternary', { group: 8 })], backend)
trainingSuite(runner, 'binaryConnect', () => binaryConnect(), [weight('binary', { perTensor: true })], backend)
trainingSuite(runner, 'xnor', () => xnor(), [weight('binary', { perTensor: true }), weight('binary'), weight('binary', { group: 8 })], backend)
trainingSuite(runner, 'balanced', () => balanced(), [weight('int2', { perTensor: true }), weight('int2'), weight('int2', { group: 8 }), weight('int3', { group: 8 })], backend)
trainingSuite(runner, 'ste with oscillation tracking', () => withOscillation(ste()), [weight('int4', { group: 8 }), weight('int3')], backend)
trainingSuite(runner, 'lsq with freezing and dampening', () => withDampening(withOscillation(lsq())), [weight('int3', { group: 8 }), weight('int2')], backend)
