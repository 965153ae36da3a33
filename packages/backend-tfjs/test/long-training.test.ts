import { int8Static, lowBit } from '@lowbit/algos-qat'
import type { TrainingRecipe } from '@lowbit/core'
import type { Tensor } from '@tensorflow/tfjs-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { prepare, registerWasmGradients, tfjsOps, type WasmGradients } from '../src/index.js'
import { tf, useBackend } from './load-tf.js'

let registered: WasmGradients
beforeAll(async () => {
  await useBackend('wasm')
  registered = await registerWasmGradients(tf)
})
afterAll(() => registered.restore())

const STEPS = 1000

describe(`${STEPS} training steps on the kernels`, () => {
  for (const [name, recipe] of Object.entries<() => TrainingRecipe>({ 'LSQ W4A4': () => lowBit(4), 'int8 static': () => int8Static() })) {
    it(`${name} at a learning rate of 1e-2: level memory, positive scales throughout`, () => {
      expect(tfjsOps(tf).fakeQuantKernel?.({ kind: 'tensor' }, [1])).toBeDefined()
      const seeded = (seed: number) => tf.initializers.glorotUniform({ seed })
      const model = tf.sequential({
        layers: [
          tf.layers.conv2d({ inputShape: [8, 8, 1], filters: 4, kernelSize: 3, activation: 'relu', kernelInitializer: seeded(1) }),
          tf.layers.flatten(),
          tf.layers.dense({ units: 9, activation: 'relu', kernelInitializer: seeded(2) }),
          tf.layers.dense({ units: 3, kernelInitializer: seeded(3) }),
        ],
      })
      const prepared = prepare(tf, model, recipe())
      const optimizer = tf.train.adam(1e-2)
      const x = tf.tensor(Float32Array.from({ length: 6 * 64 }, (_, i) => Math.abs(Math.sin(i * 1.7))), [6, 8, 8, 1])
      const y = tf.tensor(Float32Array.from({ length: 18 }, (_, i) => Math.cos(i * 2.3)), [6, 3])
      const step = (): number => tf.tidy(() => optimizer.minimize(() => tf.losses.meanSquaredError(y, model.apply(x, { training: true }) as Tensor) as never, true)?.dataSync()[0] ?? NaN)
      const first = step()
      step()
      const before = tf.memory()
      let last = first
      let least = Infinity
      for (let i = 0; i < STEPS; i++) {
        last = step()
        for (const { weight, activation } of prepared.sites) {
          for (const part of [weight, activation]) if (part?.held.names.includes('log_scale')) least = part.held.read('log_scale').reduce((m, v) => Math.min(m, Math.exp(v)), least)
        }
      }
      expect(tf.memory().numTensors).toBe(before.numTensors)
      expect(tf.memory().numBytes).toBe(before.numBytes)
      expect(last).toBeLessThan(first)
      expect(least).toBeGreaterThan(0)
      if (name === 'LSQ W4A4') expect(least).toBeLessThan(Infinity)
      prepared.restore()
      optimizer.dispose()
      model.dispose()
    })
  }
})
