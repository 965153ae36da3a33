import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { dequantize, productBound, type Batch } from '@lowbit/core'
import { int8DynamicInt4Weights } from '@lowbit/algos-qat'
import * as ort from 'onnxruntime-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { convert, prepare } from '../src/index.js'
import { tf, useBackend } from './load-tf.js'

let folder: string
beforeAll(async () => {
  await useBackend('wasm')
  folder = await mkdtemp(join(tmpdir(), 'lowbit-disk-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** Keeps ONNX Runtime from rounding activations to int8 before int4 weights. */
const EXACT = { extra: { session: { qdq_matmulnbits_accuracy_level: '1' } } }

/** One matrix, int4 in groups of 32: the deployed model, and 4 rows through it. */
async function converted(k: number, n: number) {
  const model = tf.sequential({ layers: [tf.layers.dense({ units: n, inputShape: [k], useBias: false, name: 'only', kernelInitializer: tf.initializers.glorotNormal({ seed: 3 }) })] })
  const prepared = prepare(tf, model, int8DynamicInt4Weights({ group: 32 }))
  const { host, sites, float } = await convert(tf, prepared)
  const weight = sites[0].weight
  if (weight === undefined) throw new Error('the layer stayed in float')
  const data = Float32Array.from({ length: 4 * k }, (_, i) => Math.sin(i * 0.7))
  const name = host.inputs()[0].name
  const x: Batch = { [name]: { dtype: 'float32', shape: [4, k], data } }
  const want = Object.values(await host.run(x))[0].data as Float32Array
  return { host, weight, float, data, name, want }
}

describe('int4 in groups of 32 on disk', () => {
  const CASES = [
    { format: 'dequantize', k: 512, n: 768 },
    // 172 = 5 · 32 + 12: the short last group is quantized, with a scale of its own.
    { format: 'dequantize', k: 172, n: 2048 },
    { format: 'matmul-nbits', k: 512, n: 768 },
  ]
  for (const { format, k, n } of CASES) {
    it(`${format}, [${n}, ${k}]: at most 4.6 bits a weight in the written file, and ONNX Runtime computes what was converted`, async () => {
      const { host, weight, float, data, name, want } = await converted(k, n)
      expect(float).toEqual([])
      expect(weight.params.shape).toEqual([n, Math.ceil(k / 32)])
      if (k === 172) for (let row = 0; row < 20; row++) expect(weight.codes.slice(row * k + 160, (row + 1) * k).some((c) => c !== 0)).toBe(true)
      const path = join(folder, `${format}-${k}.onnx`)
      const artifact = await host.emit(format, { settings: { scales: 'float16', ...(format === 'matmul-nbits' ? { accuracyLevel: 1 } : {}) } })
      await artifact.save(path)
      expect(artifact.notes.join()).toContain('float16')
      const { size } = await stat(path)
      expect((8 * size) / (n * k)).toBeLessThanOrEqual(4.6)
      const session = await ort.InferenceSession.create(new Uint8Array(await readFile(path)), EXACT)
      const got = (await session.run({ [name]: new ort.Tensor('float32', data, [4, k]) }))[session.outputNames[0]].data as Float32Array
      await session.release()
      // Besides the rounding of the product: each scale may be off by 2^-11 of itself.
      const values = dequantize(weight).data
      const room = productBound(data, values, 4, n, k)
      const half = (2 ** -11 / 2 ** -24) / (k + 4)
      want.forEach((v, i) => expect(Math.abs(v - got[i])).toBeLessThanOrEqual((1 + half) * room[i]))
    })
  }

  it('keeps float32 scales unless it is told otherwise, and then ONNX Runtime is within the rounding of the product', async () => {
    const { host, weight, data, name, want } = await converted(172, 64)
    const session = await ort.InferenceSession.create((await host.emit('dequantize')).bytes(), EXACT)
    const got = (await session.run({ [name]: new ort.Tensor('float32', data, [4, 172]) }))[session.outputNames[0]].data as Float32Array
    const room = productBound(data, dequantize(weight).data, 4, 64, 172)
    want.forEach((v, i) => expect(Math.abs(v - got[i])).toBeLessThanOrEqual(2 * room[i]))
    await session.release()
    await expect(host.emit('dequantize', { settings: { scales: 'bfloat16' } })).rejects.toThrow(/LOWBIT_ARGUMENT.*float16/)
  })
})
