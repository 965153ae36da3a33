import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { FakeQuant, FakeQuantState } from '../../src/contract/v2/training.js'
import type { QTensor } from '../../src/qtensor.js'
import { dequantize } from '../../src/reference/dequantize.js'
import { referenceMatmul } from '../../src/reference/matmul.js'
import { referenceOps, type ReferenceTensor } from '../../src/reference/ops.js'
import type { Scheme } from '../../src/scheme.js'
import { int4, weightScheme } from '../../src/weight-scheme.js'
import { bitsPerWeight, convertWeight, transposeQTensor } from '../../src/training/convert.js'
import { integerMatmul, productBound } from '../../src/training/integer.js'

const backend = referenceOps()
const { ops } = backend
const state: FakeQuantState<ReferenceTensor> = { read: () => ops.constant(0), write: () => undefined, step: 0, training: false }
const giving = (scheme: Scheme, codes: number[], scales: number[], grid: number[]): FakeQuant => ({
  scheme, variables: () => [], forward: (_, x) => x,
  quantize: (o, x) => ({ codes: o.constant(Float32Array.from(codes), o.shape(x)), scales: o.constant(Float32Array.from(scales), grid) }),
})

describe('convertWeight', () => {
  const perColumn: Scheme = { dtype: 'int4', granularity: { kind: 'channel', axis: 1 }, symmetric: true }
  const x = ops.constant(new Float32Array(6), [3, 2])

  it('turns a weight that lies as [K, N] into [N, K]', async () => {
    const q = await convertWeight(backend, giving(perColumn, [1, 2, 3, 4, 5, 6], [0.5, 2], [2]), x, state, 'KN')
    expect(q).toMatchObject({ shape: [2, 3], scheme: { granularity: { kind: 'channel', axis: 0 } } })
    expect([...q.codes]).toEqual([1, 3, 5, 2, 4, 6])
    expect([...dequantize(q).data]).toEqual([0.5, 1.5, 2.5, 4, 8, 12])
  })

  it('says what a diverged training left', async () => {
    await expect(convertWeight(backend, giving(perColumn, [1, 2, 3, 4, 5, 6], [NaN, 2], [2]), x, state, 'KN', 'dense_1')).rejects.toThrow(/LOWBIT_NONFINITE: dense_1: scale 0 is NaN/)
  })

  it('refuses codes outside the type', async () => {
    await expect(convertWeight(backend, giving(perColumn, [1, 2, 3, 4, 5, 8], [1, 2], [2]), x, state)).rejects.toThrow(/code 8/)
  })
})

/** Any matrix in int4 groups along K, with a short last group where it falls so. */
const matrices = fc.record({ n: fc.integer({ min: 1, max: 4 }), k: fc.integer({ min: 1, max: 20 }), size: fc.integer({ min: 1, max: 8 }), seed: fc.integer() }).map(({ n, k, size, seed }): QTensor => {
  let s = seed >>> 0
  const next = (): number => (s = (Math.imul(s, 1664525) + 1013904223) >>> 0) / 2 ** 32
  const groups = Math.ceil(k / size)
  return {
    scheme: int4({ group: size }), shape: [n, k],
    codes: Int8Array.from({ length: n * k }, () => Math.floor(next() * 16) - 8),
    params: { scales: Float32Array.from({ length: n * groups }, () => 0.01 + next()), shape: [n, groups] },
  }
})

describe('transposeQTensor', () => {
  it('turned twice is the tensor, and values follow', () => {
    fc.assert(fc.property(matrices, (q) => {
      const turned = transposeQTensor(q)
      expect(transposeQTensor(turned)).toEqual(q)
      const [n, k] = q.shape
      const [a, b] = [dequantize(q).data, dequantize(turned).data]
      for (let i = 0; i < n; i++) for (let j = 0; j < k; j++) expect(b[j * n + i]).toBe(a[i * k + j])
    }))
  })
})

describe('integerMatmul', () => {
  it('is the product of the dequantized operands, within the rounding of a float product', () => {
    fc.assert(fc.property(matrices, fc.integer({ min: 1, max: 3 }), fc.integer({ min: -128, max: 127 }), (q, rows, zero) => {
      const [n, k] = q.shape
      const codes = Int8Array.from({ length: rows * k }, (_, i) => ((i * 37) % 256) - 128)
      const x = Float32Array.from(codes, (c) => Math.fround((c - zero) * Math.fround(0.03)))
      const { values } = integerMatmul({ codes, rows, scales: [Math.fround(0.03)], zeroPoints: [zero] }, q)
      const want = referenceMatmul({ dtype: 'float32', shape: [rows, k], data: x }, q).data
      const bound = productBound(x, dequantize(q).data, rows, n, k)
      values.forEach((v, i) => expect(Math.abs(v - want[i])).toBeLessThanOrEqual(bound[i] + 2 ** -22 * Math.abs(want[i]) + 1e-30))
    }))
  })

  it('takes zero points of weights that are fractions: balanced levels', () => {
    const q: QTensor = { scheme: { ...weightScheme('int2'), symmetric: false, zeroPoint: 'float' }, shape: [1, 4], codes: Int8Array.of(-2, -1, 0, 1), params: { scales: Float32Array.of(2), zeroPoints: Float32Array.of(-0.5), shape: [1] } }
    expect(integerMatmul({ codes: [1, 2, 3, 4], rows: 1, scales: [1] }, q, [10]).values[0]).toBe(2 * (-1.5 - 1 + 1.5 + 6) + 10)
  })

  it('refuses a sum that leaves int32', () => {
    const q: QTensor = { scheme: weightScheme('int16', { perTensor: true }), shape: [1, 3], codes: Int16Array.of(32767, 32767, 32767), params: { scales: Float32Array.of(1), shape: [] } }
    expect(() => integerMatmul({ codes: [32767, 32767, 32767], rows: 1, scales: [1] }, q)).toThrow(/LOWBIT_LIMIT/)
  })
})

describe('bitsPerWeight', () => {
  it('of int4 in groups of 32 with float16 scales is 4.5, short groups counted', () => {
    const q = (k: number): QTensor => ({ scheme: int4({ group: 32 }), shape: [2, k], codes: new Int8Array(2 * k), params: { scales: new Float32Array(2 * Math.ceil(k / 32)), shape: [2, Math.ceil(k / 32)] } })
    expect(bitsPerWeight(q(64), 4)).toBe(4.5)
    expect(bitsPerWeight(q(172), 4)).toBeCloseTo(4 + (6 * 16) / 172, 10)
    expect(bitsPerWeight(q(172), 4)).toBeLessThan(4.6)
  })
})
