import * as fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { int8, referenceOps, type QTensor } from '@lowbit/core'
import { ggmlTQ2_0 } from '@lowbit/formats/layouts'
import { trainingSuite } from '@lowbit/core/testkit'
import { BIT_ACTIVATIONS, bitLinearInteger, bitnet, bitnetSchedule, hfTernary, i2s, TERNARY_WEIGHTS, ternarise, VERSION, warmupLambda } from '../src/index.js'

trainingSuite({ describe, it }, 'bitnet', () => bitnet(), [
  { spec: { scheme: TERNARY_WEIGHTS, shape: [6, 20], role: 'weight' }, shape: [6, 20], from: -0.3, to: 0.3 },
  { spec: { scheme: BIT_ACTIVATIONS, shape: [null, 12], role: 'activation' }, shape: [5, 12], from: -2, to: 3 },
], () => referenceOps())

const ternaryTensor = (n: number, k: number, codes: readonly number[]): QTensor => ({ scheme: TERNARY_WEIGHTS, shape: [n, k], codes: Int8Array.from(codes), params: { scales: Float32Array.of(0.25), shape: [] } })

describe('packed ternary weights', () => {
  for (const [layout, rows, columns] of [[hfTernary, 1, 1], [i2s('x86'), 1, 128], [i2s('arm'), 1, 64], [i2s('x86-1x4'), 4, 1]] as const) {
    it(`come back from ${layout.name}`, () => {
      fc.assert(fc.property(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 3 }), fc.infiniteStream(fc.integer({ min: -1, max: 1 })), (a, b, stream) => {
        const [n, k] = [rows * a, columns * b]
        const q = ternaryTensor(n, k, [...stream.take(n * k)])
        const packed = layout.pack(q)
        const back = layout.unpack(packed)
        expect([...back.codes]).toEqual([...q.codes])
        expect(back.params.scales[0]).toBe(0.25)
        expect(Object.values(packed.buffers).reduce((sum, buffer) => sum + buffer.byteLength, 0)).toBe(layout.size(q.scheme, q.shape))
      }), { numRuns: 30 })
    })
  }

  it('never take latent weights', () => {
    const latent: QTensor = { scheme: int8({ perTensor: true }), shape: [4, 256], codes: new Int8Array(1024).fill(77), params: { scales: Float32Array.of(1), shape: [] } }
    for (const layout of [hfTernary, i2s(), ggmlTQ2_0]) expect(() => layout.pack(latent)).toThrow(/LOWBIT_UNSUPPORTED.*ternar/)
    const lying = ternaryTensor(4, 4, new Array<number>(16).fill(2))
    expect(() => hfTernary.pack(lying)).toThrow(/code 2 at 0/)
  })

  it('differ between the three I2_S layouts, which share one type number', () => {
    const q = ternaryTensor(4, 128, Array.from({ length: 512 }, (_, i) => (Math.imul(i, 2654435761) >>> 8) % 3 - 1))
    const bytes = (['x86', 'arm', 'x86-1x4'] as const).map((variant) => [...i2s(variant).pack(q).buffers['bytes']].join())
    expect(new Set(bytes).size).toBe(3)
  })
})

describe('ternarise', () => {
  it('gives -1, 0, 1 with the mean magnitude as step', async () => {
    const q = await ternarise({ dtype: 'float32', shape: [1, 4], data: Float32Array.of(-2, 0.1, 1, 0.9) })
    expect([...q.codes]).toEqual([-1, 0, 1, 1])
    expect(q.params.scales[0]).toBeCloseTo(1, 6)
  })

  it('names weights that are not finite', async () => {
    await expect(ternarise({ dtype: 'float32', shape: [1, 2], data: Float32Array.of(1, NaN) })).rejects.toThrow(/LOWBIT_NONFINITE/)
  })
})

describe('bitLinearInteger', () => {
  it('refuses weights that were not ternarised', () => {
    const q: QTensor = { ...ternaryTensor(1, 2, [1, -1]), scheme: int8({ perTensor: true }) }
    expect(() => bitLinearInteger({ dtype: 'float32', shape: [1, 2], data: new Float32Array(2) }, q)).toThrow(/ternarise/)
  })
})

describe('the training recipe', () => {
  it('has two stages, a warm-up, and ends at zero', () => {
    const at = bitnetSchedule({ steps: 1000, learningRate: 3e-3, warmupSteps: 10 })
    expect(at(0).learningRate).toBeCloseTo(3e-4, 8)
    expect(at(100).learningRate).toBeCloseTo(3e-3 * 0.9, 8)
    expect(at(499).weightDecay).toBe(0.1)
    expect(at(500)).toEqual({ learningRate: 1e-3, weightDecay: 0 })
    expect(at(500).learningRate).toBeLessThan(at(499).learningRate)
    expect(at(1000).learningRate).toBe(0)
  })

  it('phases rounding in over a float checkpoint', () => {
    expect([0, 250, 1000, 5000].map((step) => warmupLambda(step, 1000))).toEqual([0, 0.25, 1, 1])
    expect(warmupLambda(0, 0)).toBe(1)
  })
})

it('carries its own version', () => {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  expect(manifest).toMatchObject({ version: VERSION, name: bitnet().name })
})
