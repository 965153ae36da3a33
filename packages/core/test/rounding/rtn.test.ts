import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import packageFile from '../../package.json' with { type: 'json' }
import { isLowbitError } from '../../src/errors.js'
import type { QTensor } from '../../src/qtensor.js'
import { checkQTensor } from '../../src/qtensor.js'
import { dequantize, quantizeAffine, quantizeBlock } from '../../src/reference/index.js'
import { roundToNearest } from '../../src/rounding/nearest.js'
import { rtn } from '../../src/rounding/rtn.js'
import { searchWeights } from '../../src/rounding/search.js'
import type { CodeType, Scheme } from '../../src/scheme.js'
import { int4, int8, weightScheme } from '../../src/weight-scheme.js'
import { tensor } from '../../src/tensor.js'
import { fastLinAlg } from '../../src/linalg/index.js'

/** Numbers like weights: Gaussian by the sum of uniforms, from a seed. */
function gaussian(length: number, seed: number, scale = 0.05): Float32Array<ArrayBuffer> {
  let state = seed | 0
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return (state >>> 8) / 2 ** 24 - 0.5
  }
  return Float32Array.from({ length }, () => (next() + next() + next() + next()) * 1.73 * scale)
}

const squaredError = (w: Float32Array, q: QTensor): number => dequantize(q).data.reduce((sum, value, i) => sum + (value - (w[i] ?? 0)) ** 2, 0)

const job = (w: Float32Array<ArrayBuffer>, rows: number, columns: number, scheme: Scheme, statistics = {}) => ({
  site: { id: 'layer.0', kind: 'linear' as const, weight: { rows, columns, groups: 1, columnsPerChannel: 1 } },
  weight: tensor('float32', [rows, columns], w),
  scheme,
  statistics,
  linalg: fastLinAlg,
  seed: 0,
})

const weights = fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 50 })).chain(([rows, columns]) =>
  fc.record({
    rows: fc.constant(rows),
    columns: fc.constant(columns),
    w: fc.array(fc.float({ noNaN: true, noDefaultInfinity: true, min: -1000, max: 1000 }), { minLength: rows * columns, maxLength: rows * columns }).map((values) => Float32Array.from(values)),
  }),
)

describe('rtn', () => {
  it('carries the version of its package', () => expect(rtn().version).toBe(packageFile.version))

  it('gives the codes of the block quantizer for groups, a short last one included', () => {
    fc.assert(fc.property(weights, fc.constantFrom('int2', 'int3', 'int4', 'int8', 'uint2', 'uint4', 'uint8'), fc.boolean(), fc.constantFrom(7, 16, 32), ({ w, rows, columns }, dtype, symmetric, group) => {
      const q = roundToNearest(w, rows, columns, weightScheme(dtype as CodeType, { group, symmetric }))
      checkQTensor(q, 'q')
      const bits = Number(dtype.slice(-1))
      const offset = dtype.startsWith('u') ? 0 : 2 ** (bits - 1)
      const groups = Math.ceil(columns / group)
      for (let n = 0; n < rows; n++) {
        for (let g = 0; g < groups; g++) {
          const from = n * columns + g * group
          const to = n * columns + Math.min((g + 1) * group, columns)
          const want = quantizeBlock(w.subarray(from, to), bits, symmetric)
          expect(Array.from(q.codes.subarray(from, to))).toEqual(want.codes.map((code) => code - offset + 0))
          expect(q.params.scales[n * groups + g]).toBeCloseTo(want.scale, 12)
          if (!symmetric) expect(q.params.zeroPoints?.[n * groups + g]).toBe(want.zeroPoint - offset)
        }
      }
    }))
  })

  it('gives the codes of the affine quantizer for channels and tensors, along either axis', () => {
    const granularities = [{ kind: 'tensor' }, { kind: 'channel', axis: 0 }, { kind: 'channel', axis: 1 }] as const
    fc.assert(fc.property(weights, fc.constantFrom('int4', 'int8', 'int16', 'uint4', 'uint8', 'uint16'), fc.boolean(), fc.boolean(), fc.constantFrom(...granularities), ({ w, rows, columns }, dtype, symmetric, reduceRange, granularity) => {
      const scheme: Scheme = { dtype: dtype as 'int8', granularity, symmetric, reduceRange }
      const q = roundToNearest(w, rows, columns, scheme)
      const want = quantizeAffine(tensor('float32', [rows, columns], w), dtype as 'int8', granularity, { symmetric, reduceRange })
      expect(q.codes).toEqual(want.codes)
      expect(q.params.scales).toEqual(want.scales)
      if (q.params.zeroPoints !== undefined) expect(q.params.zeroPoints).toEqual(want.zeroPoints)
    }))
  })

  it('rounds ternary as BitNet and binary as XNOR-Net', () => {
    const w = Float32Array.of(0.3, -0.9, 0.1, 0, 1.2, -0.2)
    const ternary = roundToNearest(w, 1, 6, weightScheme('ternary', { perTensor: true }))
    expect([...ternary.codes]).toEqual([1, -1, 0, 0, 1, 0])
    expect(ternary.params.scales[0]).toBeCloseTo(0.45, 6)
    const binary = roundToNearest(w, 1, 6, weightScheme('binary', { perTensor: true }))
    expect([...binary.codes]).toEqual([1, -1, 1, 1, 1, -1])
    expect(binary.params.scales[0]).toBeCloseTo(0.45, 6)
  })

  it('puts table types on their nearest entries', () => {
    const w = gaussian(256, 9)
    for (const dtype of ['nf4', 'fp4', 'float8e4m3fn', 'float8e5m2'] as const) {
      const q = roundToNearest(w, 4, 64, weightScheme(dtype, { group: 64 }))
      expect(squaredError(w, q), dtype).toBeLessThan(0.02 * w.reduce((sum, value) => sum + value * value, 0))
    }
  })

  it('represents constant rows exactly with float zero points', () => {
    const w = new Float32Array(32).fill(3.7)
    const q = roundToNearest(w, 1, 32, { ...weightScheme('uint2', { group: 16, symmetric: false }), zeroPoint: 'float' })
    expect(dequantize(q).data).toEqual(w)
  })

  it('names the site and the place of a weight that is not finite', async () => {
    const w = gaussian(12, 1)
    w[7] = NaN
    await expect(rtn().round(job(w, 3, 4, int8()))).rejects.toSatisfy((error) => isLowbitError(error, 'LOWBIT_NONFINITE') && error.message.includes('layer.0') && error.message.includes('[1, 3]'))
  })
})

describe('rtn({ range: search })', () => {
  const schemes: readonly Scheme[] = [
    ...(['int2', 'int3', 'int4', 'int8', 'ternary', 'uint4'] as const).flatMap((dtype) => [weightScheme(dtype, { group: 32 }), weightScheme(dtype), weightScheme(dtype, { perTensor: true })]),
    ...(['uint2', 'uint4', 'int4', 'uint8'] as const).flatMap((dtype) => [weightScheme(dtype, { group: 32, symmetric: false }), weightScheme(dtype, { symmetric: false })]),
    { ...weightScheme('uint4', { group: 32, symmetric: false }), zeroPoint: 'float' },
    weightScheme('int8', { reduceRange: true }),
  ]
  it.each(schemes)('has less squared error than the whole range: $dtype $granularity.kind symmetric $symmetric', (scheme) => {
    const w = gaussian(8 * 96, 5)
    const searched = searchWeights(w, 8, 96, scheme)
    checkQTensor(searched, 'q')
    const [plain, best] = [squaredError(w, roundToNearest(w, 8, 96, scheme)), squaredError(w, searched)]
    expect(best).toBeLessThan(plain)
  })

  it('is never worse on any weights, granule by granule', () => {
    fc.assert(fc.property(weights, fc.constantFrom('int2', 'int4', 'int8', 'uint4'), fc.boolean(), fc.boolean(), ({ w, rows, columns }, dtype, symmetric, grouped) => {
      const scheme = weightScheme(dtype as CodeType, { symmetric, ...(grouped ? { group: 16 } : {}) })
      const [plain, best] = [squaredError(w, roundToNearest(w, rows, columns, scheme)), squaredError(w, searchWeights(w, rows, columns, scheme))]
      // The search counts in float64 what is read back as float32: each value q is off by at most 2^-24 |q|, in both tensors.
      const d = Math.sqrt(plain)
      expect(best).toBeLessThanOrEqual(plain + 4 * 2 ** -24 * d * (Math.hypot(...w) + d) + 1e-30)
    }))
  })

  it('gives no negative scale to channels and tensors', () => {
    const w = gaussian(1024, 3)
    expect(searchWeights(w, 8, 128, int4()).params.scales.every((scale) => scale > 0)).toBe(true)
  })

  it('finds the best ternary scale: no other scale of a fine grid has less error', () => {
    const w = gaussian(128, 11)
    const least = squaredError(w, searchWeights(w, 1, 128, weightScheme('ternary')))
    for (let scale = 0.001; scale < 0.2; scale += 0.0005) {
      const codes = Int8Array.from(w, (value) => Math.max(-1, Math.min(1, Math.round(value / scale))))
      expect(least).toBeLessThanOrEqual(squaredError(w, { scheme: weightScheme('ternary'), shape: [1, 128], codes, params: { scales: Float32Array.of(scale), shape: [1] } }) + 1e-9)
    }
  })

  it('weighted by the Gram diagonal, has less weighted error than unweighted', async () => {
    const [rows, columns] = [8, 64]
    const w = gaussian(rows * columns, 21)
    const diagonal = Float64Array.from({ length: columns }, (_, k) => (k % 7 === 0 ? 100 : 0.1))
    const data = new Float64Array(columns * columns)
    diagonal.forEach((value, k) => { data[k * columns + k] = value })
    const gram = { data, groups: 1, size: columns, rows: 10 }
    const weighted = (q: QTensor): number => dequantize(q).data.reduce((sum, value, i) => sum + (diagonal[i % columns] ?? 0) * (value - (w[i] ?? 0)) ** 2, 0)
    const scheme = int4({ group: 32 })
    const algorithm = rtn({ range: 'search-gram' })
    expect(algorithm.needs(scheme)).toEqual(['gram'])
    const withGram = await algorithm.round(job(w, rows, columns, scheme, { gram }))
    const without = await rtn({ range: 'search' }).round(job(w, rows, columns, scheme))
    expect(weighted(withGram.q)).toBeLessThan(weighted(without.q))
  })
})
