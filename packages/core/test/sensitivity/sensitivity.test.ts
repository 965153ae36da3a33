import { describe, expect, it } from 'vitest'
import * as fc from 'fast-check'
import { allocateBits, cheapestChoices, dequantize, fastLinAlg, int2, int4, int8, outputError, outputPower, rtn, sensitivity, SENSITIVITY_MEASURES, type Choice } from '@lowbit/core'
import { toyBatches, toyHost, toyJob } from '@lowbit/core/testkit'

describe('output error', () => {
  it.each([1, 2])('is what the activations say, with %i groups', async (groups) => {
    const { job, x } = toyJob({ scheme: int4(), rows: 6, columns: 20, groups })
    const { gram } = job.statistics
    if (gram === undefined) throw new Error('no Gram matrix')
    const rounded = dequantize((await rtn().round(job)).q).data
    let error = 0
    let power = 0
    for (let r = 0; r < x.shape[0]; r++) {
      for (let n = 0; n < 6; n++) {
        let want = 0
        let got = 0
        for (let k = 0; k < 20; k++) {
          const v = x.data[r * 20 * groups + Math.floor(n / (6 / groups)) * 20 + k]
          want += v * job.weight.data[n * 20 + k]
          got += v * rounded[n * 20 + k]
        }
        error += (got - want) ** 2
        power += want ** 2
      }
    }
    expect(outputError(job.weight.data, rounded, 6, gram, fastLinAlg) / error).toBeCloseTo(1, 5)
    expect(outputPower(job.weight.data, 6, gram, fastLinAlg) / power).toBeCloseTo(1, 5)
  })
})

describe('cheapest choices', () => {
  const layers = fc.array(fc.array(fc.record({ cost: fc.integer({ min: 0, max: 50 }), size: fc.integer({ min: 0, max: 20 }) }), { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 5 })

  it('finds what trying everything finds', () => {
    fc.assert(
      fc.property(layers, fc.integer({ min: 0, max: 80 }), (choices: readonly (readonly Choice[])[], budget) => {
        let best = Infinity
        const walk = (l: number, cost: number, size: number): void => {
          if (size > budget) return
          if (l === choices.length) best = Math.min(best, cost)
          else choices[l].forEach((c) => walk(l + 1, cost + c.cost, size + c.size))
        }
        walk(0, 0, 0)
        if (best === Infinity) {
          expect(() => cheapestChoices(choices, budget)).toThrow(/LOWBIT_ARGUMENT/)
          return
        }
        const found = cheapestChoices(choices, budget)
        expect(found.cost).toBe(best)
        expect(found.size).toBeLessThanOrEqual(budget)
        expect(found.choices.reduce((sum, c, l) => sum + choices[l][c].cost, 0)).toBe(best)
        expect(found.choices.reduce((sum, c, l) => sum + choices[l][c].size, 0)).toBe(found.size)
      }),
      { numRuns: 300 },
    )
  })

  it('does a hundred layers in a moment', () => {
    const many = Array.from({ length: 100 }, (_, l) => [2, 3, 4, 8].map((bits) => ({ cost: ((l * 37) % 11) / bits ** 2, size: bits * 16 * (1 + (l % 13)) })))
    expect(cheapestChoices(many, many.reduce((sum, c) => sum + c[2].size, 0)).choices).toHaveLength(100)
  })

  it('names what is wrong with a choice', () => {
    expect(() => cheapestChoices([[]], 1)).toThrow(/no choice/)
    expect(() => cheapestChoices([[{ cost: Number.NaN, size: 1 }]], 1)).toThrow(/cost NaN/)
    expect(() => cheapestChoices([[{ cost: 1, size: 0.5 }]], 1)).toThrow(/size 0.5/)
  })
})

describe('sensitivity', () => {
  it.each(SENSITIVITY_MEASURES)('ranks sites by %s damage, fewer bits above more, and leaves the host alone', async (measure) => {
    const host = toyHost()
    const batches = toyBatches()
    const before = await host.run(batches[0])
    const table = await sensitivity(host, { schemes: [int2({ group: 8 }), int4({ group: 8 }), int8({ group: 8 })], calibration: batches, measure })
    expect(await host.run(batches[0])).toEqual(before)
    expect(table).toHaveLength(9 * 3)
    table.forEach((row, i) => expect(row.damage).toBeLessThanOrEqual(table[Math.max(0, i - 1)].damage))
    for (const site of new Set(table.map((r) => r.site))) {
      const damage = (dtype: string): number => table.find((r) => r.site === site && r.scheme.dtype === dtype)?.damage ?? Number.NaN
      expect(damage('int8')).toBeLessThan(damage('int4'))
      expect(damage('int4')).toBeLessThan(damage('int2'))
    }
  })

  it('gives schemes that fit a budget, with more damage the less there is', async () => {
    const table = await sensitivity(toyHost(), { schemes: [int2({ group: 8 }), int4({ group: 8 }), int8({ group: 8 })], calibration: toyBatches() })
    const all = table.reduce((sum, r) => sum + (r.scheme.dtype === 'int8' ? r.bytes : 0), 0)
    const half = allocateBits(table, all * 0.6, { float: false })
    expect(half.bytes).toBeLessThanOrEqual(all * 0.6)
    expect(half.schemes.size).toBe(9)
    expect(new Set([...half.schemes.values()].map((s) => s?.dtype)).size).toBeGreaterThan(1)
    expect(allocateBits(table, all, { float: false }).damage).toBeLessThan(half.damage)
    expect([...allocateBits(table, 1e9).schemes.values()].every((s) => s === null)).toBe(true)
    expect(() => allocateBits(table, 100)).toThrow(/at least \d+/)
  })

  it('estimates traces whose prediction is near what quantizing does where errors are small', async () => {
    const options = { schemes: [int8({ group: 8 })], calibration: toyBatches({ batches: 1 }) }
    const measured = await sensitivity(toyHost(), { ...options, measure: 'model' })
    const predicted = await sensitivity(toyHost(), { ...options, measure: 'hessian', probes: 32 })
    for (const { site, damage, trace, standardError } of predicted) {
      expect(trace).toBeGreaterThan(0)
      expect(standardError).toBeLessThan(trace ?? 0)
      const real = measured.find((r) => r.site === site)?.damage ?? Number.NaN
      expect(Math.abs(Math.log2(damage / real)), site).toBeLessThan(1)
    }
  })

  it('measures weights without data, and says what is missing for the rest', async () => {
    const schemes = [int4({ group: 8 })]
    expect(await sensitivity(toyHost(), { schemes, measure: 'weight' })).toHaveLength(9)
    for (const measure of SENSITIVITY_MEASURES.filter((m) => m !== 'weight')) await expect(sensitivity(toyHost(), { schemes, measure })).rejects.toThrow(/LOWBIT_CALIBRATION/)
  })
})
