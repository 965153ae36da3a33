import { int4, isLowbitError, quantize, rtn } from '@lowbit/core'
import * as ort from 'onnxruntime-node'
import { expect, it } from 'vitest'
import { openOnnx, ortBatch, ortBatches } from '../src/index.js'
import { matrices } from './support/models.js'
import { randomTensor } from './support/random.js'

const feeds = [60, 61, 62].map((seed) => {
  const { data, shape } = randomTensor([5, 44], seed)
  return { x: new ort.Tensor('float32', Float32Array.from(data), [...shape]) }
})

it('tensors of ONNX Runtime calibrate as batches do, read as often as it takes', async () => {
  const artifact = async (calibration: Parameters<typeof quantize>[1]['calibration']): Promise<Uint8Array> => {
    const host = await openOnnx(matrices().bytes)
    try {
      return (await quantize(host, { weights: int4({ group: 16 }), format: 'dequantize', rounding: rtn({ range: 'search-gram' }), mode: 'sequential', ...(calibration === undefined ? {} : { calibration }) })).artifact.bytes()
    } finally {
      await host.dispose()
    }
  }
  const plain = feeds.map(({ x }) => ({ x: { dtype: 'float32' as const, shape: x.dims, data: Float32Array.from(x.data as Float32Array) } }))
  expect(Buffer.compare(await artifact(ortBatches(feeds)), await artifact(plain))).toBe(0)
  expect(Buffer.compare(await artifact(ortBatches(feeds.values())), await artifact(plain))).toBe(0)
})

it('one set of feeds runs as a batch; strings are refused', async () => {
  const host = await openOnnx(matrices().bytes)
  expect(Object.keys(await host.run(await ortBatch(feeds[0]))).length).toBeGreaterThan(0)
  await host.dispose()
  const error: unknown = await ortBatch({ x: new ort.Tensor('string', ['a'], [1]) }).catch((e: unknown) => e)
  expect(isLowbitError(error, 'LOWBIT_DTYPE')).toBe(true)
})
