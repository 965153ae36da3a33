import { describe, expect, it } from 'vitest'
import { dequantize, fastLinAlg, int2, int3, int4, quantize, rowErrors, rowProducts, rtn, uint4, unbiased, type RoundingAlgorithm, type RoundingJob } from '@lowbit/core'
import { roundingSuite, toyBatches, toyHost, toyJob } from '@lowbit/core/testkit'

const searched = rtn({ range: 'search-gram' })

roundingSuite({ runner: { describe, it }, factory: () => unbiased(searched), schemes: [int3({ group: 16 }), uint4({ group: 16 }), int4()] })

/** For each row: the size of what it puts out along the float row's output (1 is whole), and its error. */
async function measure(algorithm: RoundingAlgorithm, job: RoundingJob): Promise<{ readonly size: readonly number[]; readonly error: number }> {
  const { gram } = job.statistics
  if (gram === undefined) throw new Error('a job without Gram matrix')
  const { rows } = job.site.weight
  const w = Float64Array.from(job.weight.data)
  const rounded = dequantize((await algorithm.round(job)).q).data
  const whole = rowProducts(w, w, rows, gram, fastLinAlg)
  const kept = rowProducts(w, Float64Array.from(rounded), rows, gram, fastLinAlg)
  return { size: Array.from(kept, (k, row) => k / whole[row]), error: rowErrors(job.weight.data, rounded, rows, gram, fastLinAlg).reduce((a, b) => a + b, 0) }
}

describe('unbiased', () => {
  it('gives every row its size back, which a search for the least error takes', async () => {
    const { job } = toyJob({ scheme: int2({ group: 16 }), rows: 16, columns: 64 })
    const before = await measure(searched, job)
    const mean = before.size.reduce((a, b) => a + b, 0) / before.size.length
    expect(mean).toBeLessThan(0.99)
    const after = await measure(unbiased(searched), job)
    for (const size of after.size) expect(size).toBeCloseTo(1, 5)
    // The price in output error is of second order.
    expect(after.error).toBeLessThan(before.error * 1.2)
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

  it('makes the toy model better at few bits', async () => {
    const noise = async (rounding: RoundingAlgorithm): Promise<number> => {
      const host = toyHost()
      await quantize(host, { weights: int2({ group: 8 }), rounding, exclude: ['embed', 'unembed'], calibration: toyBatches({ seed: 3, batches: 8 }) })
      let total = 0
      for (const batch of toyBatches({ seed: 9, batches: 8 })) {
        const got = await host.run(batch)
        for (const [name, { data }] of Object.entries(await host.run(batch, { model: 'original' }))) data.forEach((v, i) => (total += (Number(v) - Number(got[name].data[i])) ** 2))
      }
      return total
    }
    expect(await noise(unbiased(searched))).toBeLessThan(await noise(searched))
  })
})
