import { afterEach, describe, expect, it } from 'vitest'
import { fastLinAlg, int3, int4, resumable, rtn, type PluginTable, type RoundingAlgorithm, type RoundingJob } from '@lowbit/core'
import { toyJob } from '@lowbit/core/testkit'
import { gptq } from '@lowbit/algos-gptq'
import { serveJobs, workerRunner, type Port, type WorkerRunner } from '@lowbit/jobs'

const algorithms: PluginTable = { '@lowbit/algos-gptq': (config) => gptq(config) }
const { job } = toyJob({ scheme: int4({ group: 32 }), rows: 160, columns: 128, linalg: fastLinAlg })

let runner: WorkerRunner | undefined
afterEach(() => runner?.close())

/** Workers of this process: the same messages over the same channels. */
function opened(table: PluginTable = algorithms): { readonly open: () => Port; readonly count: () => number } {
  let count = 0
  return {
    open: () => {
      const { port1, port2 } = new MessageChannel()
      serveJobs({ port: port2, algorithms: table })
      count++
      return port1
    },
    count: () => count,
  }
}

const run = async (algorithm: RoundingAlgorithm, work: RoundingJob) => {
  const answer = runner?.run(algorithm, work)
  if (answer === undefined) throw new Error('done here')
  return answer
}

describe('jobs on workers', () => {
  it('give the results that they give here, several at once', async () => {
    const { open, count } = opened()
    runner = workerRunner(open, { workers: 2 })
    const jobs = [job, { ...job, scheme: int3({ group: 16 }) }, { ...job, scheme: int4() }]
    const results = await Promise.all(jobs.map((j) => run(gptq(), j)))
    for (const [i, j] of jobs.entries()) expect(results[i]).toEqual(await gptq().round(j))
    expect(count()).toBe(2)
  })

  it('are done here where the worker knows no such algorithm, configuration or linear algebra', async () => {
    const asked: string[] = []
    const own = (name: string): RoundingAlgorithm => ({ ...rtn(), name, needs: () => ['gram'], round: async (j) => { asked.push(name); return rtn().round(j) } })
    const { open } = opened()
    runner = workerRunner(open, { workers: 2 })
    expect(await run(own('of nobody'), job)).toEqual(await rtn().round(job))
    expect(asked).toEqual(['of nobody'])
    // Asked once: the next time it is not even sent.
    expect(runner.run(own('of nobody'), job)).toBeUndefined()
    const strange = resumable({ ...fastLinAlg, name: 'strange' })
    expect(await run(gptq(), { ...job, linalg: strange })).toEqual(await gptq().round(job))
    expect(await run({ ...gptq(), version: '0.0.0' }, job)).toEqual(await gptq().round(job))
  })

  it('are not sent where there is little to do', () => {
    runner = workerRunner(opened().open, { workers: 2 })
    expect(runner.run(rtn(), { ...job, statistics: {} })).toBeUndefined()
    expect(runner.run(gptq(), toyJob({ scheme: int4() }).job)).toBeUndefined()
  })

  it('fail as they fail here', async () => {
    runner = workerRunner(opened().open, { workers: 2 })
    const bad = { ...job, weight: { ...job.weight, data: job.weight.data.map((w, i) => (i === 7 ? NaN : w)) } }
    await expect(run(gptq(), bad)).rejects.toMatchObject({ code: 'LOWBIT_NONFINITE', parts: { found: 'weight 7 is NaN' } })
    expect(await run(gptq(), job)).toEqual(await gptq().round(job))
  })

  it('stop at once on request, with the reason, and leave the worker usable', async () => {
    runner = workerRunner(opened().open, { workers: 1 })
    const controller = new AbortController()
    const reason = new Error('enough')
    const waiting = toyJob({ scheme: int3(), rows: 256, columns: 320, linalg: fastLinAlg }).job
    const stopped = [run(gptq(), { ...waiting, signal: controller.signal }), run(gptq(), { ...job, signal: controller.signal })]
    setTimeout(() => controller.abort(reason), 30)
    for (const work of stopped) await expect(work).rejects.toMatchObject({ code: 'LOWBIT_ABORTED', cause: reason })
    expect(await run(gptq(), job)).toEqual(await gptq().round(job))
  })

  it('keep to the memory: one at a time where two do not fit, and one alone always goes', async () => {
    let together = 0
    let most = 0
    const slow: RoundingAlgorithm = { ...rtn(), name: 'slow', config: {}, needs: () => ['gram'], async round(j) { most = Math.max(most, ++together); await new Promise((r) => setTimeout(r, 20)); together--; return rtn().round(j) } }
    runner = workerRunner(opened({ slow: () => slow }).open, { workers: 3, maxMemory: 1000 })
    await Promise.all([run(slow, job), run(slow, job), run(slow, job)])
    expect(most).toBe(1)
  })
})
