import { describe, expect, it } from 'vitest'
import { dequantize, fastLinAlg, int2, int3, int4, rowErrors, rowProducts, rtn, uint4, unbiased, type RoundingAlgorithm, type RoundingJob } from '@lowbit/core'
import { roundingSuite, toyJob } from '@lowbit/core/testkit'

const searched = rtn({ range: 'search-gram' })

roundingSuite({ runner: { describe, it }, factory: () => unbiased(searched), schemes: [int3({ group: 16 }), uint4({ group: 16 }), int4()] })

/** For each row: the size of what it puts out along the float row's output (1 is whole), and its error. */
async function measure(algorithm: RoundingAlgorithm, job: RoundingJob): Promise<{ readonly size: Float64Array; readonly error: Float64Array }> {
  const { gram } = job.statistics
  if (gram === undefined) throw new Error('a job without Gram matrix')
  const { rows } = job.site.weight
  const w = Float64Array.from(job.weight.data)
  const rounded = dequantize((await algorithm.round(job)).q).data
  const whole = rowProducts(w, w, rows, gram, fastLinAlg)
  const kept = rowProducts(w, Float64Array.from(rounded), rows, gram, fastLinAlg)
  return { size: kept.map((k, row) => k / whole[row]), error: rowErrors(job.weight.data, rounded, rows, gram, fastLinAlg) }
}

const bias = (size: Float64Array): number => size.reduce((sum, s) => sum + Math.abs(s - 1), 0)

describe('unbiased', () => {
  it.each([int2({ group: 16 }), int3({ group: 16 }), int4(), uint4({ group: 16 })])('brings each row nearer to its size, and no row to a larger error', async (scheme) => {
    for (const rounding of [rtn(), searched]) {
      const { job } = toyJob({ scheme, rows: 16, columns: 64 })
      const before = await measure(rounding, job)
      const after = await measure(unbiased(rounding), job)
      after.size.forEach((size, row) => expect(Math.abs(size - 1)).toBeLessThanOrEqual(Math.abs(before.size[row] - 1) + 1e-6))
      after.error.forEach((error, row) => expect(error).toBeLessThanOrEqual(before.error[row] * (1 + 1e-5)))
      expect(bias(after.size)).toBeLessThan(0.9 * bias(before.size))
    }
  })

  it('leaves codes and zero points alone', async () => {
    const { job } = toyJob({ scheme: uint4({ group: 16 }) })
    const plain = (await rtn().round(job)).q
    const { q, notes } = await unbiased(rtn()).round(job)
    expect(q.codes).toEqual(plain.codes)
    expect(q.params.zeroPoints).toEqual(plain.params.zeroPoints)
    expect(q.params.scales).not.toEqual(plain.params.scales)
    expect(Number(notes?.['gain'])).toBeCloseTo(1, 1)
  })

  it('changes nothing where rows share a scale or no data came by', async () => {
    const shared = toyJob({ scheme: int4({ perTensor: true }) }).job
    expect((await unbiased(rtn()).round(shared)).q).toEqual((await rtn().round(shared)).q)
    const blind = toyJob({ scheme: int4(), statistics: [] }).job
    expect((await unbiased(rtn()).round(blind)).q).toEqual((await rtn().round(blind)).q)
  })

  it('survives rows of zeros and inputs of zeros', async () => {
    const { job } = toyJob({ scheme: int4({ group: 16 }) })
    job.weight.data.fill(0, 0, job.site.weight.columns)
    const { gram } = job.statistics
    if (gram === undefined) throw new Error('no Gram matrix')
    for (const statistics of [job.statistics, { gram: { ...gram, data: gram.data.map(() => 0) } }]) {
      const { q } = await unbiased(rtn()).round({ ...job, statistics })
      expect(dequantize(q).data.every((v) => Number.isFinite(v))).toBe(true)
    }
  })
})
