import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { decodeBfloat16, decodeFloat16, encodeBfloat16, encodeFloat16, encodeSmallFloat, FLOAT16 } from '../../src/numbers/index.js'
import { granuleIndex, paramShape, type QTensor } from '../../src/qtensor.js'
import { allocateCodes, clamp, dequantize, exactCodeMatmul, referenceMatmul, roundHalfAway, roundHalfEven, saturatingCodeMatmul, zeroPointsOf } from '../../src/reference/index.js'
import { codeRange, type Granularity, type IntegerCode } from '../../src/scheme.js'
import { tensor } from '../../src/tensor.js'

describe('rounding', () => {
  it('sends halves to even, or away from zero', () => {
    const halves = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 4503599627370495.5]
    expect(halves.map((x) => roundHalfEven(x) + 0)).toEqual([-2, -2, 0, 0, 2, 2, 4503599627370496])
    expect(halves.slice(0, 6).map((x) => roundHalfAway(x))).toEqual([-3, -2, -1, 1, 2, 3])
  })
  it('is within a half of its argument, a whole number, and even on ties', () => {
    fc.assert(fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (x) => {
      const rounded = roundHalfEven(x)
      expect(Math.abs(rounded - x)).toBeLessThanOrEqual(0.5)
      expect(Number.isInteger(rounded)).toBe(true)
      if (Math.abs(rounded - x) === 0.5) expect(Math.abs(rounded % 2)).toBe(0)
    }), { numRuns: 1000 })
  })
  it('keeps infinities and NaN', () => {
    expect([roundHalfEven(Infinity), roundHalfEven(-Infinity), roundHalfEven(NaN), clamp(NaN, 0, 1)]).toEqual([Infinity, -Infinity, NaN, NaN])
  })
})

describe('16-bit floats', () => {
  it('encode what they decode, all codes', () => {
    for (let code = 0; code < 65536; code++) {
      const [half, brain] = [decodeFloat16(code), decodeBfloat16(code)]
      if (!Number.isNaN(half) && encodeFloat16(half) !== code) expect.fail(`float16 ${code}`)
      if (!Number.isNaN(brain) && encodeBfloat16(brain) !== code) expect.fail(`bfloat16 ${code}`)
    }
  })
  it('have a fast float16 that agrees with the general encoder', () => {
    fc.assert(fc.property(fc.float({ noNaN: true }), (x) => {
      expect(encodeFloat16(x)).toBe(encodeSmallFloat(FLOAT16, x))
    }), { numRuns: 2000 })
  })
})

describe('dequantize', () => {
  const granularities: readonly Granularity[] = [{ kind: 'tensor' }, { kind: 'channel', axis: 0 }, { kind: 'channel', axis: 1 }, { kind: 'channel', axis: 2 }, { kind: 'group', axis: 2, size: 3 }, { kind: 'group', axis: 1, size: 2 }, { kind: 'group', axis: 2, size: 100 }]
  it('takes the scale and zero point of each element’s granule, in every layout of granules', () => {
    fc.assert(fc.property(fc.constantFrom(...granularities), fc.constantFrom<IntegerCode>('int4', 'uint8', 'int16'), fc.boolean(), fc.integer({ min: 1, max: 7 }), fc.infiniteStream(fc.nat(65535)), (granularity, dtype, symmetric, last, random) => {
      const shape = [3, 4, last]
      const next = (): number => random.next().value as number
      const { min, max } = codeRange(dtype)
      const code = (): number => min + (next() % (max - min + 1))
      const grid = paramShape(granularity, shape)
      const granules = grid.reduce((a, b) => a * b, 1)
      const zeroPoints = symmetric ? {} : { zeroPoints: Int32Array.from({ length: granules }, code) }
      const q: QTensor = { scheme: { dtype, granularity, symmetric }, shape, codes: allocateCodes(dtype, 12 * last).map(code), params: { scales: Float32Array.from({ length: granules }, () => next() / 1000), shape: grid, ...zeroPoints } }
      const granuleOf = granuleIndex(granularity, shape)
      dequantize(q).data.forEach((value, i) => {
        const granule = granuleOf(i)
        expect(value).toBe(Math.fround(((q.codes[i] ?? 0) - (zeroPointsOf(q)[granule] ?? 0)) * (q.params.scales[granule] ?? 0)))
      })
    }))
  })
  it('takes the middle of unsigned codes for the missing zero point', () => {
    const q: QTensor = { scheme: { dtype: 'uint4', granularity: { kind: 'tensor' }, symmetric: true }, shape: [3], codes: Uint8Array.of(0, 8, 15), params: { scales: Float32Array.of(0.5), shape: [] } }
    expect([...dequantize(q).data]).toEqual([-4, 0, 3.5])
  })
})

describe('matmul', () => {
  it('multiplies with the transposed weight, float and quantized alike', () => {
    const x = tensor('float32', [2, 3], Float32Array.of(1, 2, 3, 4, 5, 6))
    const q: QTensor = { scheme: { dtype: 'int4', granularity: { kind: 'channel', axis: 0 }, symmetric: true }, shape: [2, 3], codes: Int8Array.of(1, 0, -1, 2, 2, 2), params: { scales: Float32Array.of(1, 0.5), shape: [2] } }
    expect([...referenceMatmul(x, q, Float32Array.of(10, 0)).data]).toEqual([8, 6, 8, 15])
    expect([...referenceMatmul(x, dequantize(q)).data]).toEqual([-2, 6, -2, 15])
  })
  it('saturates pairs only where they do not fit 16 bits: never with weights up to 64', () => {
    const activations = Uint8Array.of(255, 255, 200, 1, 7)
    const product = { activations, rows: 1, columns: 5 }
    expect([...saturatingCodeMatmul({ ...product, weights: Int8Array.of(127, 127, -3, 5, 2) })]).toEqual([32767 - 595 + 14])
    expect([...exactCodeMatmul({ ...product, weights: Int8Array.of(127, 127, -3, 5, 2) })]).toEqual([64770 - 595 + 14])
    fc.assert(fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), fc.array(fc.integer({ min: -64, max: 64 }), { minLength: 6, maxLength: 6 }), (a, w) => {
      const small = { activations: a, weights: Int8Array.from(w), rows: 1, columns: 6 }
      expect(saturatingCodeMatmul(small)).toEqual(exactCodeMatmul(small))
    }))
  })
})
