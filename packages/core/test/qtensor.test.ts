import { describe, expect, it } from 'vitest'
import { checkQTensor, dequantize, int4, int8, quantize, rtn, type QTensor, type RoundingAlgorithm } from '@lowbit/core'
import { toyHost } from '@lowbit/core/testkit'

const tensorOf = (dtype: QTensor['scheme']['dtype'], codes: QTensor['codes']): QTensor => ({
  scheme: { dtype, granularity: { kind: 'tensor' }, symmetric: true },
  shape: [1, codes.length],
  codes,
  params: { scales: Float32Array.of(1), shape: [] },
})

describe('codes that their type does not have', () => {
  it.each([
    ['int4', Int8Array.of(-8, 7, 8)],
    ['int4', Int8Array.of(-9, 0)],
    ['uint4', Uint8Array.of(0, 16)],
    ['uint2', Uint8Array.of(3, 4)],
    ['int3', Int8Array.of(-5)],
    ['ternary', Int8Array.of(-1, 0, 2)],
    ['int8', Int16Array.of(128)],
    ['uint8', Int8Array.of(-1)],
    ['nf4', Uint8Array.of(15, 16)],
    ['binary', Int8Array.of(1, 0)],
  ] as const)('%s: refused by name and place', (dtype, codes) => {
    expect(() => checkQTensor(tensorOf(dtype, codes), 'w')).toThrow(/LOWBIT_DATA: w: code -?\d+ at element \d+/)
    expect(() => dequantize(tensorOf(dtype, codes))).toThrow(/LOWBIT_DATA/)
  })

  it('nor whole numbers, nor numbers, from whoever is not held to types', () => {
    for (const code of [0.5, NaN, Infinity]) {
      const q = tensorOf('int8', Int8Array.of(1, 1))
      Object.defineProperty(q, 'codes', { value: Float32Array.of(1, code) })
      expect(() => checkQTensor(q, 'w')).toThrow(/LOWBIT_DATA: w: code \S+ at element 1/)
    }
  })

  it('zero points are held to it too, and scales to numbers', () => {
    const asymmetric = (zeroPoint: 'integer' | 'float', zeroPoints: Int32Array | Float32Array, scale = 1): QTensor => {
      const q = tensorOf('uint4', Uint8Array.of(1))
      return { ...q, scheme: { ...q.scheme, symmetric: false, zeroPoint }, params: { scales: Float32Array.of(scale), zeroPoints, shape: [] } }
    }
    for (const z of [0, 15]) expect(() => checkQTensor(asymmetric('integer', Int32Array.of(z)), 'w')).not.toThrow()
    for (const z of [-1, 16]) expect(() => checkQTensor(asymmetric('integer', Int32Array.of(z)), 'w')).toThrow(/LOWBIT_DATA: w: zero point/)
    expect(() => checkQTensor(asymmetric('integer', Float32Array.of(7.5)), 'w')).toThrow(/LOWBIT_DATA/)
    expect(() => checkQTensor(asymmetric('float', Float32Array.of(-30.5)), 'w')).not.toThrow()
    expect(() => checkQTensor(asymmetric('float', Float32Array.of(NaN)), 'w')).toThrow(/LOWBIT_NONFINITE/)
    expect(() => checkQTensor(asymmetric('integer', Int32Array.of(7), Infinity), 'w')).toThrow(/LOWBIT_NONFINITE: w: scale/)
  })

  it('the ends of each type are taken', () => {
    for (const [dtype, codes] of [['int4', Int8Array.of(-8, 7)], ['uint4', Uint8Array.of(0, 15)], ['int8', Int8Array.of(-128, 127)], ['ternary', Int8Array.of(-1, 1)], ['uint16', Uint16Array.of(65535)], ['nf4', Uint8Array.of(0, 15)]] as const) {
      expect(() => checkQTensor(tensorOf(dtype, codes), 'w')).not.toThrow()
    }
  })

  it('are refused from an algorithm, from where it is run, and by a host', async () => {
    const wrong = async (job: Parameters<RoundingAlgorithm['round']>[0]): ReturnType<RoundingAlgorithm['round']> => {
      const result = await rtn().round(job)
      return { ...result, q: { ...result.q, codes: result.q.codes.map((c, i) => (i === 3 ? 9 : c)) } }
    }
    const algorithm = { ...rtn(), round: wrong }
    await expect(quantize(toyHost(), { weights: int4(), rounding: algorithm })).rejects.toThrow(/LOWBIT_DATA.*code 9 at element 3/)
    await expect(quantize(toyHost(), { weights: int4(), rounding: { ...algorithm, apiVersion: 1 as number as 2 } })).rejects.toThrow(/LOWBIT_DATA.*code 9 at element 3/)
    await expect(quantize(toyHost(), { weights: int4(), runner: { concurrency: 1, run: (_, job) => wrong(job) } })).rejects.toThrow(/LOWBIT_DATA.*code 9 at element 3/)
    const host = toyHost()
    const site = host.sites()[1]
    const { q } = await rtn().round({ site, weight: await host.readWeight(site.id), scheme: int8(), statistics: {}, linalg: (await import('@lowbit/core')).referenceLinAlg, seed: 0 })
    expect(() => host.assign(site.id, { ...q, codes: Int16Array.from(q.codes, () => 200) })).toThrow(/LOWBIT_DATA/)
  })
})
