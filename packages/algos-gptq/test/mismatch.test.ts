import { describe, expect, it } from 'vitest'
import { bestOf, dequantize, fastLinAlg, int3, int4, quantize, rowProducts, rtn, type GramStatistic, type RoundingAlgorithm, type RoundingJob } from '@lowbit/core'
import { roundingSuite, toyBatches, toyHost, toyJob } from '@lowbit/core/testkit'
import { gptq, mismatchAware } from '@lowbit/algos-gptq'
import { towardsFloat } from '../src/mismatch.js'

roundingSuite({ runner: { describe, it }, factory: () => mismatchAware(gptq()), schemes: [int3({ group: 16 }), int4()], better: 'output' })

/** A job behind rounded layers: its rows X̂, those of the float model X = X̂ + noise, and the statistics of both. */
function behind(options: { readonly columns?: number; readonly groups?: number } = {}): { readonly job: RoundingJob; readonly x: Float64Array; readonly xHat: Float64Array } {
  const { columns = 24, groups = 1 } = options
  const { job, x: given } = toyJob({ scheme: int3({ group: 8 }), rows: 8, columns, groups, samples: 200, linalg: fastLinAlg })
  const xHat = Float64Array.from(given.data)
  const width = groups * columns
  // Layers before took something away and mixed channels.
  const x = xHat.map((v, i) => 1.1 * v + 0.3 * xHat[i - (i % width) + ((i + 1) % width)])
  return { job: { ...job, statistics: { gram: products(xHat, xHat, columns, groups), 'cross-gram': products(xHat, x, columns, groups) } }, x, xHat }
}

/** `AᵀB` of each group. */
function products(a: Float64Array, b: Float64Array, k: number, groups: number): GramStatistic {
  const width = k * groups
  const rows = a.length / width
  const data = new Float64Array(groups * k * k)
  for (let r = 0; r < rows; r++) for (let g = 0; g < groups; g++) for (let i = 0; i < k; i++) for (let j = 0; j < k; j++) data[(g * k + i) * k + j] += a[r * width + g * k + i] * b[r * width + g * k + j]
  return { data, groups, size: k, rows }
}

/** `‖W X − V X̂‖²` of one row, from the rows themselves. */
function outputError(w: ArrayLike<number>, v: ArrayLike<number>, x: Float64Array, xHat: Float64Array, k: number): number {
  let total = 0
  for (let r = 0; r < x.length; r += k) {
    let gap = 0
    for (let j = 0; j < k; j++) gap += w[j] * x[r + j] - v[j] * xHat[r + j]
    total += gap * gap
  }
  return total
}

describe('the weight that makes up for rounded layers', () => {
  it('is where the error against the float output is least: gradient descent from it goes nowhere', async () => {
    const k = 24
    const { job, x, xHat } = behind({ columns: k })
    const { job: matched, moved } = await towardsFloat(job, { share: 1, percdamp: 1e-9 })
    expect(moved).toBeGreaterThan(0.05)
    expect(matched.statistics['cross-gram']).toBeUndefined()
    for (let row = 0; row < 8; row++) {
      const w = job.weight.data.subarray(row * k, (row + 1) * k)
      const v = matched.weight.data.slice(row * k, (row + 1) * k)
      const least = outputError(w, v, x, xHat, k)
      expect(least).toBeLessThan(0.05 * outputError(w, w, x, xHat, k))
      for (let j = 0; j < k; j++) {
        for (const step of [-0.01, 0.01]) {
          const aside = v.slice()
          aside[j] += step
          expect(outputError(w, aside, x, xHat, k)).toBeGreaterThan(least)
        }
      }
    }
  })

  it('goes a share of the way, and nowhere without a cross-Gram matrix or a mismatch', async () => {
    const { job } = behind()
    const whole = (await towardsFloat(job, { share: 1, percdamp: 0.01 })).job.weight.data
    const half = (await towardsFloat(job, { share: 0.5, percdamp: 0.01 })).job.weight.data
    half.forEach((v, i) => expect(v).toBeCloseTo((whole[i] + job.weight.data[i]) / 2, 5))
    const { gram } = job.statistics
    if (gram === undefined) throw new Error('no Gram matrix')
    for (const statistics of [{ gram }, { gram, 'cross-gram': gram }]) expect((await towardsFloat({ ...job, statistics }, { share: 1, percdamp: 0.01 })).job.weight.data).toEqual(job.weight.data)
    expect((await towardsFloat(job, { share: 0, percdamp: 0.01 })).job.weight.data).toEqual(job.weight.data)
  })

  it('treats the groups of a convolution one by one', async () => {
    const { job } = behind({ columns: 12, groups: 2 })
    const both = (await towardsFloat(job, { share: 1, percdamp: 0.01 })).job.weight.data
    for (const g of [0, 1]) {
      const part = (s: GramStatistic | undefined): GramStatistic => {
        if (s === undefined) throw new Error('no matrix')
        return { ...s, groups: 1, data: s.data.slice(g * 144, (g + 1) * 144) }
      }
      const alone = await towardsFloat(
        {
          ...job,
          site: { ...job.site, weight: { ...job.site.weight, rows: 4, groups: 1 } },
          weight: { ...job.weight, shape: [4, 12], data: job.weight.data.slice(g * 48, (g + 1) * 48) },
          statistics: { gram: part(job.statistics.gram), 'cross-gram': part(job.statistics['cross-gram']) },
        },
        { share: 1, percdamp: 0.01 },
      )
      expect(alone.job.weight.data).toEqual(both.slice(g * 48, (g + 1) * 48))
    }
  })

  it('refuses a matrix of another size, and names NaN', async () => {
    const { job } = behind()
    const cross = job.statistics['cross-gram']
    if (cross === undefined) throw new Error('no matrix')
    const other = { ...job, statistics: { ...job.statistics, 'cross-gram': { ...cross, size: 12, data: cross.data.slice(0, 144) } } }
    await expect(towardsFloat(other, { share: 1, percdamp: 0.01 })).rejects.toMatchObject({ code: 'LOWBIT_SHAPE' })
    const broken = { ...job, statistics: { ...job.statistics, 'cross-gram': { ...cross, data: cross.data.map(() => Number.NaN) } } }
    await expect(towardsFloat(broken, { share: 1, percdamp: 0.01 })).rejects.toMatchObject({ code: 'LOWBIT_NONFINITE' })
  })
})

describe('GPTQ that knows of the mismatch', () => {
  it.each([int3({ group: 8 }), int4()])('puts out what the float model does better than GPTQ at every site of a sequential run', async (weights) => {
    const unaware = gptq({ mismatch: 0 })
    const gaps = new Map<string, readonly [number, number]>()
    const watched: RoundingAlgorithm = {
      ...gptq(),
      async round(job) {
        const { gram, 'cross-gram': cross } = job.statistics
        const aware = await gptq().round(job)
        if (gram !== undefined && cross !== undefined) {
          const plain = await unaware.round({ ...job, statistics: { gram } })
          gaps.set(job.site.id, [gapOf(job, dequantize(aware.q).data, gram, cross), gapOf(job, dequantize(plain.q).data, gram, cross)])
        }
        return aware
      },
    }
    await quantize(toyHost(), { weights, rounding: watched, calibration: toyBatches({ seed: 3, batches: 8 }), mode: 'sequential' })
    expect(gaps.size).toBeGreaterThan(4)
    for (const [site, [aware, plain]] of gaps) expect(aware, site).toBeLessThan(plain)
  })

  it('is GPTQ in one pass, and takes no statistics it does not need there', async () => {
    const codes = async (rounding: RoundingAlgorithm, mode: 'one-pass' | 'sequential'): Promise<string> => {
      const host = toyHost()
      await quantize(host, { weights: int4({ group: 8 }), rounding, calibration: toyBatches({ seed: 3, batches: 4 }), mode })
      return JSON.stringify(await host.run(toyBatches({ seed: 9, batches: 1 })[0]))
    }
    expect(await codes(gptq(), 'one-pass')).toBe(await codes(gptq({ mismatch: 0 }), 'one-pass'))
    expect(await codes(gptq(), 'sequential')).not.toBe(await codes(gptq({ mismatch: 0 }), 'sequential'))
    // Around what does not ask for it, the wrapper alone makes the difference.
    expect(await codes(mismatchAware(bestOf([gptq({ mismatch: 0 }), rtn()])), 'sequential')).not.toBe(await codes(bestOf([gptq({ mismatch: 0 }), rtn()]), 'sequential'))
  })

  it('does not take the mismatch back twice where it is wrapped', async () => {
    const { job } = behind()
    expect((await mismatchAware(gptq()).round(job)).q).toEqual((await gptq().round(job)).q)
  })

  it.each([{ mismatch: 1.5 }, { mismatch: -0.1 }, { refine: -1 }])('refuses %o', (options) => {
    expect(() => gptq(options)).toThrow(/LOWBIT_ARGUMENT/)
  })
})

/** `‖W X − Q X̂‖²` but for what does not depend on Q. */
function gapOf(job: RoundingJob, q: Float32Array, gram: GramStatistic, cross: GramStatistic): number {
  const values = Float64Array.from(q)
  const { rows } = job.site.weight
  const own = rowProducts(values, values, rows, gram, fastLinAlg)
  const shared = rowProducts(values, Float64Array.from(job.weight.data), rows, cross, fastLinAlg)
  return own.reduce((sum, v, row) => sum + v - 2 * shared[row], 0)
}
