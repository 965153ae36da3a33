import { describe, expect, it } from 'vitest'
import { bestOf, dequantize, fastLinAlg, int3, int4, LowbitError, outputError, rowErrors, rtn, uint4, type RoundingAlgorithm, type RoundingJob } from '@lowbit/core'
import { roundingSuite, toyJob } from '@lowbit/core/testkit'

const searched = rtn({ range: 'search-gram' })

roundingSuite({ runner: { describe, it }, factory: () => bestOf([searched, rtn()]), schemes: [int3({ group: 16 }), uint4({ group: 16 })] })

async function errorsOf(algorithm: RoundingAlgorithm, job: RoundingJob): Promise<Float64Array> {
  const { gram } = job.statistics
  if (gram === undefined) throw new Error('a job without Gram matrix')
  return rowErrors(job.weight.data, dequantize((await algorithm.round(job)).q).data, job.site.weight.rows, gram, fastLinAlg)
}

describe('bestOf', () => {
  it.each([int3({ group: 16 }), uint4({ group: 16 }), int4()])('gives every row the least of the errors, whatever the order', async (scheme) => {
    const { job } = toyJob({ scheme })
    const other = rtn({ range: 'search' })
    const parts = [await errorsOf(rtn(), job), await errorsOf(other, job), await errorsOf(searched, job)]
    const least = parts[0].map((_, row) => Math.min(...parts.map((p) => p[row])))
    const best = await errorsOf(bestOf([rtn(), other, searched]), job)
    best.forEach((error, row) => expect(error).toBeCloseTo(least[row], 9))
    expect(await errorsOf(bestOf([searched, rtn(), other]), job)).toEqual(best)
  })

  it('notes what each would have cost and how many rows it won', async () => {
    const { job } = toyJob({ scheme: int3({ group: 16 }) })
    const { notes } = await bestOf([rtn(), searched]).round(job)
    const chosen = notes?.['chosen'] as { readonly use: string; readonly config: unknown; readonly rows: number; readonly error: number }[]
    expect(chosen.map((c) => c.config)).toEqual([{ range: 'minmax' }, { range: 'search-gram' }])
    expect(chosen[0].rows + chosen[1].rows).toBe(job.site.weight.rows)
    expect(chosen[1].rows).toBeGreaterThan(chosen[0].rows)
    const { gram } = job.statistics
    if (gram === undefined) throw new Error('no Gram matrix')
    expect(chosen[0].error).toBeCloseTo(outputError(job.weight.data, dequantize((await rtn().round(job)).q).data, job.site.weight.rows, gram, fastLinAlg), 6)
  })

  it('chooses for the whole site where rows share a scale', async () => {
    const { job } = toyJob({ scheme: int4({ perTensor: true }) })
    const mine = await bestOf([rtn(), rtn({ range: 'search' })]).round(job)
    const alone = [await rtn().round(job), await rtn({ range: 'search' }).round(job)].map((r) => r.q)
    expect(alone).toContainEqual(mine.q)
  })

  it('takes the first where nothing was measured, and asks no other', async () => {
    const { job } = toyJob({ scheme: int3({ group: 16 }), statistics: [] })
    const never: RoundingAlgorithm = { ...rtn(), round: () => Promise.reject(new Error('was asked')) }
    expect((await bestOf([rtn(), never]).round(job)).q).toEqual((await rtn().round(job)).q)
  })

  it('leaves out what cannot do a scheme, and passes on the refusal if nothing can', async () => {
    const { job } = toyJob({ scheme: int3({ group: 16 }) })
    const refusing: RoundingAlgorithm = { ...rtn(), round: () => Promise.reject(new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'toy', found: 'int3' })) }
    expect((await bestOf([refusing, rtn()]).round(job)).q).toEqual((await rtn().round(job)).q)
    await expect(bestOf([refusing]).round(job)).rejects.toThrow(/LOWBIT_UNSUPPORTED/)
    const broken: RoundingAlgorithm = { ...rtn(), round: () => Promise.reject(new Error('broken')) }
    await expect(bestOf([broken, rtn()]).round(job)).rejects.toThrow('broken')
  })

  it('needs what its candidates need, and a Gram matrix to choose by', () => {
    expect(bestOf([rtn()]).needs(int3())).toEqual(['gram'])
    expect(() => bestOf([])).toThrow(/LOWBIT_ARGUMENT/)
  })
})
