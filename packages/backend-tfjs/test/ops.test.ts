import { opsSuite } from '@lowbit/core/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { registerWasmGradients, tfjsDifferentiator, tfjsOps, type WasmGradients } from '../src/index.js'
import { tf, useBackend } from './load-tf.js'

/** Each test on its own backend: the suite may run tests in any order. */
const on = (name: 'cpu' | 'wasm') => async () => {
  await useBackend(name)
  return tfjsDifferentiator(tf)
}

describe('differentiable operations', () => {
  opsSuite({ describe, it }, 'tfjs, cpu backend', on('cpu'))
  opsSuite({ describe, it }, 'tfjs, wasm backend as it comes', on('wasm'))
  describe('with the gradients registered', () => {
    let registered: WasmGradients
    beforeAll(async () => {
      await useBackend('wasm')
      registered = await registerWasmGradients(tf)
    })
    afterAll(() => registered.restore())
    opsSuite({ describe, it }, 'tfjs, wasm backend', on('wasm'))
  })
})

describe('rounding', () => {
  for (const backend of ['cpu', 'wasm'] as const) {
    it(`rounds half to even on ${backend}`, async () => {
      await useBackend(backend)
      const values = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 0.49999997, 8388609, -0.2, 126.5, 127.5]
      const rounded = tf.tidy(() => [...tfjsOps(tf).rint(tf.tensor1d(values)).dataSync()].map((v) => v + 0))
      expect(rounded).toEqual([-2, -2, 0, 0, 2, 2, 4, 0, 8388609, 0, 126, 128])
    })
  }
})

it('keeps memory level over 1,000 steps', async () => {
  await useBackend('cpu')
  const { ops, vjp } = tfjsDifferentiator(tf)
  const x = tf.tensor2d([0.3, -1.2, 0.7, 2.5, -0.1, 0.9], [2, 3])
  const dy = tf.onesLike(x)
  const step = (): void =>
    tf.tidy(() => {
      vjp(
        ([w]) => {
          const scale = ops.div(ops.max(ops.abs(w), [1], true), ops.constant(7))
          const rounded = ops.custom([w, scale], ([v, s]) => ({ output: ops.mul(ops.rint(ops.div(v, s)), s), saved: [v] }), (g, [v]) => [ops.where(ops.greaterEqual(v, ops.constant(0)), g, ops.neg(g)), ops.sum(g, [1], true)])
          return ops.minimum(ops.maximum(rounded, ops.constant(-2)), ops.stopGradient(ops.add(w, ops.constant(1))))
        },
        [x],
        dy,
      )
    })
  step()
  const { numTensors, numBytes } = tf.memory()
  for (let i = 0; i < 1000; i++) step()
  expect(tf.memory().numTensors).toBe(numTensors)
  expect(tf.memory().numBytes).toBe(numBytes)
})
