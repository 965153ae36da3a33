import { describe, expect, it } from 'vitest'
import { int4, quantize, rtn, type JobRunner, type RoundingAlgorithm } from '@lowbit/core'
import { toyBatches, toyHost } from '@lowbit/core/testkit'
import { inParallel } from '../src/pipeline/parallel.js'

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe('inParallel', () => {
  it('keeps the order of the items and the limit', async () => {
    let now = 0
    let most = 0
    const results = await inParallel([5, 1, 4, 2, 3], 2, async (x) => {
      most = Math.max(most, ++now)
      await pause(x)
      now--
      return x * 10
    })
    expect(results).toEqual([50, 10, 40, 20, 30])
    expect(most).toBe(2)
  })

  it('begins nothing after a failure, and waits for what is under way', async () => {
    const begun: number[] = []
    let ended = 0
    const work = inParallel([0, 1, 2, 3, 4], 2, async (x) => {
      begun.push(x)
      await pause(x === 0 ? 1 : 20)
      ended++
      if (x === 0) throw new Error('first')
    })
    await expect(work).rejects.toThrow('first')
    expect(begun).toEqual([0, 1])
    expect(ended).toBe(2)
  })
})

describe('a job runner', () => {
  const algorithm: RoundingAlgorithm = { ...rtn(), name: 'elsewhere', needs: () => ['gram'] }
  /** Finishes later jobs first. */
  const runner = (takes: boolean): JobRunner & { jobs: number } => {
    const made = {
      concurrency: 3,
      jobs: 0,
      run: (a: RoundingAlgorithm, job: Parameters<RoundingAlgorithm['round']>[0]) => {
        if (!takes) return undefined
        const order = ++made.jobs
        return pause(30 / order).then(() => a.round(job))
      },
    }
    return made
  }

  it.each([true, false])('changes nothing about the result (takes jobs: %s)', async (takes) => {
    const options = { weights: int4({ group: 8 }), rounding: algorithm, calibration: toyBatches({ batches: 2, rows: 8 }) }
    const alone = await quantize(toyHost(), options)
    const elsewhere = runner(takes)
    const together = await quantize(toyHost(), { ...options, runner: elsewhere })
    expect(together.artifact.bytes()).toEqual(alone.artifact.bytes())
    expect(together.report.sites).toEqual(alone.report.sites)
    expect(elsewhere.jobs > 0).toBe(takes)
  })
})
