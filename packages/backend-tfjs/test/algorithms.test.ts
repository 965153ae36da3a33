import { weightScheme, type Scheme } from '@lowbit/core'
import { trainingSuite, type TrainingSuiteCase } from '@lowbit/core/testkit'
import { balanced, int8PerToken, lsq, lsqPlus, ste, ternary, xnor } from '@lowbit/algos-qat'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { registerWasmGradients, tfjsDifferentiator, type WasmGradients } from '../src/index.js'
import { tf, useBackend } from './load-tf.js'

const runner = { describe, it }

const weight = (scheme: Scheme): TrainingSuiteCase => ({ spec: { scheme, shape: [6, 20], role: 'weight' }, shape: [6, 20], from: -0.3, to: 0.3 })
/** As dense and convolution kernels lie. */
const turned = (scheme: Scheme): TrainingSuiteCase => ({ spec: { scheme, shape: [20, 6], role: 'weight' }, shape: [20, 6] })
const activation = (scheme: Scheme, from: number, to: number): TrainingSuiteCase => ({ spec: { scheme, shape: [null, 12], role: 'activation' }, shape: [5, 12], from, to })
const columns: Scheme = { dtype: 'int4', granularity: { kind: 'channel', axis: 1 }, symmetric: true }

for (const name of ['cpu', 'wasm'] as const) {
  describe(`algorithms on the ${name} backend`, () => {
    let registered: WasmGradients | undefined
    beforeAll(async () => {
      await useBackend(name)
      if (name === 'wasm') registered = await registerWasmGradients(tf)
    })
    afterAll(() => registered?.restore())
    const backend = async () => {
      await useBackend(name)
      return tfjsDifferentiator(tf)
    }
    trainingSuite(runner, 'ste', () => ste(), [weight(weightScheme('int8')), weight(weightScheme('int4', { group: 8 })), turned(columns), activation(int8PerToken(), -2, 3)], backend)
    trainingSuite(runner, 'lsq', () => lsq(), [weight(weightScheme('int3', { group: 8 })), weight(weightScheme('ternary')), turned(columns)], backend)
    // Observers are not here: the suite holds what they write as plain tensors, which tfjs frees with the step. prepare.test.ts trains them.
    trainingSuite(runner, 'lsqPlus', () => lsqPlus(), [weight(weightScheme('int4'))], backend)
    trainingSuite(runner, 'ternary', () => ternary(), [weight(weightScheme('ternary', { group: 8 }))], backend)
    trainingSuite(runner, 'xnor', () => xnor(), [weight(weightScheme('binary'))], backend)
    trainingSuite(runner, 'balanced', () => balanced(), [weight(weightScheme('int2', { group: 8 }))], backend)
  })
}
