import { describe, expect, it } from 'vitest'
import { checkQTensor, dequantize, fastLinAlg, int4, isLowbitError, roundToNearest, tensor, uint4, type QTensor, type Scheme } from '@lowbit/core'
import { hqq } from '@lowbit/algos-hqq'
import packageFile from '../package.json' with { type: 'json' }

/** Numbers like weights: sums of uniforms, from a seed. */
function weights(length: number, seed: number): Float32Array<ArrayBuffer> {
  let state = seed | 0
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return (state >>> 8) / 2 ** 24 - 0.5
  }
  return Float32Array.from({ length }, () => (next() + next() + next() + next()) * 0.1)
}

const job = (w: Float32Array<ArrayBuffer>, rows: number, scheme: Scheme) => ({
  site: { id: 'layer.0', kind: 'linear' as const, weight: { rows, columns: w.length / rows, groups: 1, columnsPerChannel: 1 } },
  weight: tensor('float32', [rows, w.length / rows], w),
  scheme,
  statistics: {},
  linalg: fastLinAlg,
  seed: 0,
})

const float = (scheme: Scheme): Scheme => ({ ...scheme, zeroPoint: 'float' })
const meanAbsError = (w: Float32Array, q: QTensor): number => dequantize(q).data.reduce((sum, value, i) => sum + Math.abs(value - (w[i] ?? 0)), 0) / w.length

describe('hqq', () => {
  const w = weights(16 * 128, 7)

  it('carries the version of its package', () => expect(hqq().version).toBe(packageFile.version))

  it.each([16, 32, 64, 100])('has a smaller mean error than round-to-nearest with groups of %i: whole zero points, and float ones from the same start', async (group) => {
    const scheme = float(uint4({ group }))
    const { q, notes } = await hqq().round(job(w, 16, scheme))
    checkQTensor(q, 'q')
    expect(q.scheme.zeroPoint).toBe('float')
    expect(meanAbsError(w, q)).toBeLessThan(meanAbsError(w, roundToNearest(w, 16, 128, uint4({ group }))))
    expect(notes?.['meanAbsError']).toBeCloseTo(meanAbsError(w, q), 6)
    const exact = await hqq({ start: 'exact' }).round(job(w, 16, scheme))
    expect(meanAbsError(w, exact.q)).toBeLessThan(meanAbsError(w, roundToNearest(w, 16, 128, scheme)))
  })

  it('gives another result than round-to-nearest: codes and zero points', async () => {
    const scheme = float(uint4({ group: 32 }))
    const { q } = await hqq().round(job(w, 16, scheme))
    const plain = roundToNearest(w, 16, 128, scheme)
    expect(q.codes).not.toEqual(plain.codes)
    expect(q.params.zeroPoints).not.toEqual(plain.params.zeroPoints)
  })

  it('means the same with signed codes', async () => {
    const unsigned = await hqq().round(job(w, 16, float(uint4({ group: 32 }))))
    const signed = await hqq().round(job(w, 16, float(int4({ group: 32, symmetric: false }))))
    const values = dequantize(unsigned.q).data
    dequantize(signed.q).data.forEach((value, i) => expect(value).toBeCloseTo(values[i] ?? NaN, 6))
  })

  it('rounds the zero points where the scheme or the option asks for whole ones', async () => {
    for (const [options, scheme] of [[{}, uint4({ group: 32 })], [{ zeroPoints: 'integer' }, float(uint4({ group: 32 }))]] as const) {
      const { q } = await hqq(options).round(job(w, 16, scheme))
      expect(q.scheme.zeroPoint).toBeUndefined()
      expect(q.params.zeroPoints).toBeInstanceOf(Int32Array)
      expect(q.params.zeroPoints?.every((zero) => zero >= 0 && zero <= 15)).toBe(true)
    }
  })

  it('refuses schemes that have no zero point to move', async () => {
    await expect(hqq().round(job(w, 16, int4({ group: 32 })))).rejects.toSatisfy((error) => isLowbitError(error, 'LOWBIT_UNSUPPORTED') && error.message.includes('layer.0'))
  })

  it('refuses weights that are not finite, and options out of range', async () => {
    const bad = w.slice()
    bad[129] = Infinity
    await expect(hqq().round(job(bad, 16, uint4({ group: 32 })))).rejects.toSatisfy((error) => isLowbitError(error, 'LOWBIT_NONFINITE') && error.message.includes('[1, 1]'))
    expect(() => hqq({ beta: 0 })).toThrow(expect.objectContaining({ code: 'LOWBIT_ARGUMENT' }) as Error)
    expect(() => hqq({ lpNorm: 1.5 })).toThrow(expect.objectContaining({ code: 'LOWBIT_ARGUMENT' }) as Error)
  })

  it('can be aborted between rounds', async () => {
    await expect(hqq().round({ ...job(w, 16, uint4({ group: 32 })), signal: AbortSignal.abort() })).rejects.toSatisfy((error) => isLowbitError(error, 'LOWBIT_ABORTED'))
  })
})
