import { int4, int8, isLowbitError, quantize } from '@lowbit/core'
import { describe, expect, it } from 'vitest'
import { compareModels, openOnnx } from '../src/index.js'
import { convolutions, matrices, normed, tied } from './support/models.js'
import { randomCodes, randomTensor } from './support/random.js'

const batches = Array.from({ length: 3 }, (_, i) => ({ x: randomTensor([5, 44], 60 + i) }))

describe('compareModels', () => {
  it('finds nothing between a model and itself', async () => {
    const a = await openOnnx(matrices().bytes)
    const b = await openOnnx(matrices().bytes)
    const result = await compareModels(a, b, batches, { layers: true })
    expect(result.outputs).toEqual([{ name: 'y', sqnr: 300, cosine: expect.closeTo(1, 6), maxError: 0, top1: 1, count: 105 }])
    expect(result).toMatchObject({ batches: 3, sizeBefore: a.size(), sizeAfter: b.size(), layers: [] })
    expect(result.latencyBefore).toBeGreaterThan(0)
    await a.dispose()
    await b.dispose()
  })

  it.each(['matmul-nbits', 'dequantize', 'dynamic'])('ranks the sites of a %s file by what each does alone', async (format) => {
    const a = await openOnnx(normed().bytes)
    const host = await openOnnx(normed().bytes)
    const weights = format === 'dynamic' ? int8() : int8({ group: 16 })
    const { artifact } = await quantize(host, { format, weights, overrides: [{ match: 'model/head', weights: format === 'dynamic' ? { ...int4(), granularity: { kind: 'tensor' } } : int4({ group: 16 }) }], exclude: ['model/layers.1/fc2'] })
    const b = await openOnnx(artifact.bytes())
    const { layers = [], outputs, sizeBefore, sizeAfter } = await compareModels(a, b, [normed().batch], { layers: true, latency: false })
    expect(layers.map((l) => l.id).sort()).toEqual(a.sites().map((s) => s.id).filter((id) => id !== 'model/layers.1/fc2').sort())
    expect(layers[0]?.id).toBe('model/head')
    // One site alone does less damage than all of them together.
    expect(layers.at(-1)?.sqnr).toBeGreaterThan(outputs[0]?.sqnr ?? Infinity)
    expect(sizeBefore).toBe(normed().bytes.length)
    expect(sizeAfter).toBe(artifact.size)
    for (const h of [a, b, host]) await h.dispose()
  })

  it('ranks the sites of a static file, whose Relu the quantization has swallowed', async () => {
    const { bytes, batch } = convolutions()
    const a = await openOnnx(bytes)
    const host = await openOnnx(bytes, { prepare: true })
    const { artifact } = await quantize(host, { format: 'qdq', weights: int8(), activations: { dtype: 'uint8', rescue: false }, calibration: [batch] })
    const b = await openOnnx(artifact.bytes())
    const swallowed = a.sites().filter((site) => b.graphNow().producer(site.output.name) === undefined)
    expect(swallowed.length).toBeGreaterThan(0)
    const { layers = [], outputs } = await compareModels(a, b, [batch], { layers: true, latency: false })
    const ids = layers.map((l) => l.id)
    for (const site of swallowed) expect(ids).toContain(site.id)
    expect(layers.at(-1)?.sqnr).toBeGreaterThan(outputs[0]?.sqnr ?? Infinity)
    for (const h of [a, b, host]) await h.dispose()
  })

  it('ranks embeddings, tied weights and convolutions too', async () => {
    for (const small of [tied(), convolutions()]) {
      const a = await openOnnx(small.bytes)
      const b = await openOnnx(small.bytes)
      for (const site of b.sites().filter((s) => s.tiedTo === undefined)) b.assign(site.id, randomCodes(int8(), [site.weight.rows, site.weight.columns], 1))
      const { layers = [] } = await compareModels(a, await openOnnx((await b.emit('matmul-nbits')).bytes()), [small.batch], { layers: true, latency: false })
      expect(layers.map((l) => l.id).sort()).toEqual(a.sites().map((s) => s.id).sort())
      await a.dispose()
      await b.dispose()
    }
  })

  it('refuses models of different tasks, and empty data', async () => {
    const a = await openOnnx(matrices().bytes)
    const b = await openOnnx(normed().bytes)
    for (const [data, code] of [[batches, 'LOWBIT_DATA'], [[], 'LOWBIT_DATA']] as const) {
      const thrown: unknown = await compareModels(a, b, data).catch((error: unknown) => error)
      expect(isLowbitError(thrown, code), String(thrown)).toBe(true)
    }
    await a.dispose()
    await b.dispose()
  })
})
