import { dequantize, int3, int4, int8, weightScheme, type TrainingRecipe } from '@lowbit/core'
import { balanced, int8DynamicInt4Weights, int8Static, lsq, ste, ternaryWeights, binaryWeights } from '@lowbit/algos-qat'
import * as ort from 'onnxruntime-node'
import type { Tensor } from '@tensorflow/tfjs-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { convert, prepare, readLayersArtifact, registerWasmGradients, type WasmGradients } from '../src/index.js'
import { tf, useBackend } from './load-tf.js'
import { everyLayer } from './models.js'

let registered: WasmGradients
beforeAll(async () => {
  await useBackend('wasm')
  registered = await registerWasmGradients(tf)
})
afterAll(() => registered.restore())

const pixels = Float32Array.from({ length: 6 * 192 }, (_, i) => Math.abs(Math.sin(i * 0.37)) + ((i * 7919) % 13) / 26)
const largest = (v: ArrayLike<number>): number => Array.from(v).reduce((m, x) => Math.max(m, Math.abs(x)), 0)
const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number => Array.from(a).reduce((worst, v, i) => Math.max(worst, Math.abs(v - b[i])), 0)

/**
 * ONNX Runtime turns int4 weights before a MatMul into MatMulNBits, and there rounds activations to int8 unless told not to; on x86
 * without VNNI its int8 products saturate in 16 bits unless told not to.
 */
const EXACT = { extra: { session: { qdq_matmulnbits_accuracy_level: '1', x64quantprecision: '1' } } }

const RECIPES: Record<string, () => TrainingRecipe> = {
  'int8 static': () => int8Static(),
  'int4 per channel': () => ({ weights: { scheme: int4(), algorithm: lsq() } }),
  'int3 per channel': () => ({ weights: { scheme: int3(), algorithm: ste() } }),
  'int2 balanced': () => ({ weights: { scheme: weightScheme('int2'), algorithm: balanced() } }),
  ternary: () => ternaryWeights(),
  binary: () => binaryWeights(),
  'int4 groups, dynamic int8': () => int8DynamicInt4Weights({ group: 16 }),
  'int8 static, W4A4': () => ({
    weights: { scheme: int4(), algorithm: lsq() },
    activations: { scheme: { dtype: 'uint4', granularity: { kind: 'tensor' }, symmetric: true }, algorithm: lsq() },
    // What lies between its two steps has a sign, which uint4 has not.
    overrides: [{ match: 'separable/pointwise', activations: null }],
  }),
}

async function trained(recipe: TrainingRecipe) {
  const model = everyLayer()
  const prepared = prepare(tf, model, recipe)
  model.compile({ optimizer: tf.train.adam(1e-3), loss: 'meanSquaredError' })
  const x = tf.tensor(pixels, [6, 8, 8, 3])
  for (let i = 0; i < 3; i++) await model.trainOnBatch(x, tf.zeros([6, 3]))
  return { model, prepared, x }
}

describe('convert', () => {
  for (const [name, recipe] of Object.entries(RECIPES)) {
    it(`${name}: the deployed model is the trained one, in tfjs and in ONNX Runtime`, async () => {
      const { model, prepared, x } = await trained(recipe())
      const before = Float32Array.from((model.predict(x) as Tensor).dataSync())
      const { host, sites } = await convert(tf, prepared)
      expect(sites.length).toBe(8)
      const dynamic = sites.some((s) => s.activation?.kind === 'dynamic')
      const { out } = await host.run({ image: { dtype: 'float32', shape: [6, 8, 8, 3], data: pixels } })
      if (!dynamic) expect(distance(before, out.data as Float32Array)).toBeLessThanOrEqual(1e-4 * largest(before) + (name.includes('static') ? 0.02 * largest(before) : 0))
      const artifact = await host.emit('dequantize')
      const session = await ort.InferenceSession.create(artifact.bytes(), EXACT)
      const result = await session.run({ image: new ort.Tensor('float32', pixels, [6, 8, 8, 3]) })
      // A value on the edge between two activation codes may fall to the other side by another order of sums.
      const tolerance = name.includes('static') ? 0.03 : 1e-4
      expect(distance(out.data as Float32Array, result['out'].data as Float32Array)).toBeLessThanOrEqual(tolerance * largest(before))
      prepared.restore()
      model.dispose()
    })
  }

  it('gives codes whose values are exactly the weights of the forward pass, for every layer type', async () => {
    for (const recipe of [RECIPES['int4 per channel'](), RECIPES['int4 groups, dynamic int8'](), RECIPES['int2 balanced']()]) {
      const { model, prepared } = await trained(recipe)
      const { sites } = await convert(tf, prepared)
      for (const { id, weight } of sites) {
        const at = prepared.sites.find((s) => s.site.id === id)
        if (at === undefined || weight === undefined) throw new Error(id)
        const values = dequantize(weight).data
        const seen = prepared.fakeWeight(id).data
        expect([id, distance(values, seen)]).toEqual([id, 0])
      }
      prepared.restore()
      model.dispose()
    }
  })

  it('packs Dense layers for MatMulNBits', async () => {
    const { model, prepared, x } = await trained(int8DynamicInt4Weights({ group: 16 }))
    const { host } = await convert(tf, prepared)
    const artifact = await host.emit('matmul-nbits', { settings: { accuracyLevel: 1 } })
    const session = await ort.InferenceSession.create(artifact.bytes(), EXACT)
    const result = await session.run({ image: new ort.Tensor('float32', pixels, [6, 8, 8, 3]) })
    const { out } = await host.run({ image: { dtype: 'float32', shape: [6, 8, 8, 3], data: pixels } })
    expect(distance(out.data as Float32Array, result['out'].data as Float32Array)).toBeLessThanOrEqual(1e-4 * largest(out.data as Float32Array))
    expect(new TextDecoder('latin1').decode(artifact.bytes())).toContain('MatMulNBits')
    expect(x.isDisposed).toBe(false)
    prepared.restore()
    model.dispose()
  })

  it('writes tfjs layers that load and compute the same, codes for one scale a tensor', async () => {
    const { model, prepared, x } = await trained({ weights: { scheme: int8({ perTensor: true }), algorithm: ste() } })
    const { host } = await convert(tf, prepared)
    const artifact = await host.emit('layers')
    expect(artifact.size).toBeLessThan(host.size())
    const loaded = await tf.loadLayersModel(tf.io.fromMemory(readLayersArtifact(artifact.bytes())))
    const want = (await host.run({ image: { dtype: 'float32', shape: [6, 8, 8, 3], data: pixels } }))['out'].data as Float32Array
    const got = (loaded.predict(x) as Tensor).dataSync()
    expect(distance(want, got)).toBeLessThanOrEqual(1e-4 * largest(want))
    loaded.dispose()
    prepared.restore()
    model.dispose()
  })

  it('says that static activations saw nothing yet', async () => {
    const model = everyLayer()
    const prepared = prepare(tf, model, int8Static())
    await expect(convert(tf, prepared)).rejects.toThrow(/LOWBIT_CALIBRATION: input of layer 'conv': no batch has been observed/)
    prepared.restore()
    model.dispose()
  })

  it('keeps memory level', async () => {
    const { model, prepared } = await trained(int8Static())
    await convert(tf, prepared)
    const { numTensors } = tf.memory()
    await convert(tf, prepared)
    expect(tf.memory().numTensors).toBe(numTensors)
    prepared.restore()
    model.dispose()
  })
})
