import { opsSuite } from '@lowbit/core/testkit'
import * as tf from '@tensorflow/tfjs'
import '@tensorflow/tfjs-backend-webgpu'
import { describe, expect, it } from 'vitest'
import { tfjsDifferentiator, tfjsOps } from '../src/index.js'

/** Why a backend can not run in this browser; undefined where it can. */
async function missing(name: 'webgl' | 'webgpu'): Promise<string | undefined> {
  if (name === 'webgpu' && (await navigator.gpu?.requestAdapter()) == null) return 'no WebGPU adapter'
  try {
    return (await tf.setBackend(name)) ? undefined : `tfjs can not start its ${name} backend`
  } catch (error) {
    return String(error)
  }
}

// Small tensors would be computed on the CPU otherwise.
tf.env().set('WEBGL_CPU_FORWARD', false)
tf.env().set('WEBGPU_CPU_FORWARD', false)

for (const name of ['webgl', 'webgpu'] as const) {
  const reason = await missing(name)
  if (reason !== undefined) {
    describe.skip(`tfjs, ${name} backend: ${reason}`, () => it('runs', () => undefined))
    continue
  }
  const use = async () => {
    await tf.setBackend(name)
    await tf.ready()
    return tfjsDifferentiator(tf)
  }
  // WGSL promises sines and cosines to 2^-11 only, GLSL no more.
  opsSuite({ describe, it }, `tfjs, ${name} backend`, use, { tolerances: { sin: 2 ** -11, cos: 2 ** -11 } })

  describe(`tfjs, ${name} backend`, () => {
    it('computes in float32, not in half precision', async () => {
      await use()
      const y = await tf.tidy(() => tf.add(tf.tensor1d([1, 1025, 8191]), 2 ** -10)).data()
      expect([...y]).toEqual([1 + 2 ** -10, 1025 + 2 ** -10, 8191 + 2 ** -10])
    })

    it('rounds half to even', async () => {
      await use()
      const values = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 0.49999997, 8388609, -0.2, 126.5, 127.5]
      const rounded = await tf.tidy(() => tfjsOps(tf).rint(tf.tensor1d(values))).data()
      expect([...rounded].map((v) => v + 0)).toEqual([-2, -2, 0, 0, 2, 2, 4, 0, 8388609, 0, 126, 128])
    })
  })
}
