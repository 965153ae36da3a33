import { dequantize, int4, isLowbitError, partOf, partsValue, planToJson, roundToNearest, uint4, weightScheme, type Plan, type PlanTensor, type QTensor, type WeightPart } from '@lowbit/core'
import { toyNormal, toyRandom } from '@lowbit/core/testkit'
import { describe, expect, it } from 'vitest'

const N = 6
const K = 32
const SHAPE = [N, K] as const
const random = toyRandom(5)
const weight = Float32Array.from({ length: N * K }, () => toyNormal(random))
const floats = (shape: readonly number[], data: Float32Array): PlanTensor<Float32Array> => ({ dtype: 'float32', shape, data })

describe('the value of parts', () => {
  it.each([int4({ group: 16 }), uint4({ group: 8 }), weightScheme('int16'), int4({ perTensor: true })])('is that of the codes for a grid, shifted or not', (scheme) => {
    const q = roundToNearest(weight, N, K, scheme)
    expect(partsValue([partOf(q, 8)], SHAPE)).toEqual(dequantize(q).data)
  })

  it('is that of the codes for a table', () => {
    const q: QTensor = { scheme: { dtype: 'nf4', granularity: { kind: 'group', axis: 1, size: 16 }, symmetric: true }, shape: SHAPE, codes: Uint8Array.from({ length: N * K }, (_, i) => i % 16), params: { scales: Float32Array.from({ length: N * 2 }, (_, i) => i + 1), shape: [N, 2] } }
    expect(partsValue([partOf(q)], SHAPE)).toEqual(dequantize(q).data)
  })

  it('multiplies the scales of two levels, and takes minima away', () => {
    const part: WeightPart = {
      kind: 'two-level', group: 16, superGroup: 2,
      codes: { dtype: 'uint8', shape: SHAPE, data: new Uint8Array(N * K).fill(3) },
      scales: { dtype: 'uint8', shape: [N, 2], data: Uint8Array.from({ length: N * 2 }, (_, i) => i + 1) },
      superScales: floats([N, 1], new Float32Array(N).fill(0.5)),
      minima: { dtype: 'uint8', shape: [N, 2], data: new Uint8Array(N * 2).fill(2) },
      superMinima: floats([N, 1], new Float32Array(N).fill(0.25)),
    }
    expect(partsValue([part], SHAPE)).toEqual(Float32Array.from({ length: N * K }, (_, i) => 3 * (Math.floor(i / 16) + 1) * 0.5 - 0.5))
  })

  it('adds float columns, a low rank and vectors of a codebook', () => {
    const base = partOf(roundToNearest(weight, N, K, int4({ group: 16 })))
    const columns: WeightPart = { kind: 'columns', columns: { dtype: 'int32', shape: [2], data: Int32Array.of(1, 30) }, values: floats([N, 2], new Float32Array(N * 2).fill(1)) }
    const lowRank: WeightPart = { kind: 'low-rank', left: floats([N, 1], Float32Array.from({ length: N }, (_, n) => n)), right: floats([1, K], Float32Array.from({ length: K }, (_, k) => k)) }
    const codebook: WeightPart = { kind: 'codebook', indices: { dtype: 'uint8', shape: [N, K / 2], data: new Uint8Array((N * K) / 2).fill(1) }, entries: floats([2, 2], Float32Array.of(9, 9, 0.5, -0.5)), scales: floats([N], new Float32Array(N).fill(2)) }
    const alone = partsValue([base], SHAPE)
    const want = alone.map((v, i) => Math.fround(Math.fround(v + ([1, 30].includes(i % K) ? 1 : 0)) + Math.floor(i / K) * (i % K)) + (i % 2 === 0 ? 1 : -1))
    expect(partsValue([base, columns, lowRank, codebook], SHAPE)).toEqual(want)
  })

  it('is refused by name for a kind of part that is not known', () => {
    const thrown = ((): unknown => {
      try {
        return partsValue([{ kind: 'x-lattice', tensors: {} }], SHAPE)
      } catch (error) {
        return error
      }
    })()
    expect(isLowbitError(thrown, 'LOWBIT_UNSUPPORTED')).toBe(true)
    expect(String(thrown)).toContain("'x-lattice'")
  })
})

describe('a plan as JSON', () => {
  it('holds tensors by hash: another code is another text', () => {
    const plan = (q: QTensor): Plan => ({ plan: 1, format: 'none', settings: {}, sites: [], biases: [], activations: [], notes: [], weights: [{ name: 'w', sites: ['s'], shape: SHAPE, form: 'values', parts: [partOf(q)], tensors: [] }] })
    const q = roundToNearest(weight, N, K, int4({ group: 16 }))
    const other = { ...q, codes: q.codes.slice() }
    other.codes[7] = other.codes[7] === 1 ? 2 : 1
    const text = JSON.stringify(planToJson(plan(q)))
    expect(text).toMatch(/"codes":\{"dtype":"int8","shape":\[6,32\],"sha256":"[0-9a-f]{64}"\}/)
    expect(JSON.stringify(planToJson(plan(other)))).not.toBe(text)
    expect(JSON.stringify(planToJson(plan(q)))).toBe(text)
  })
})
