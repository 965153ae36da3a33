import { describe, expect, it } from 'vitest'
import { int3, int4, quantize, refined, referenceLinAlg, rtn, uint4, type RoundingAlgorithm, type Scheme, type TransformAlgorithm, type TransformJob } from '@lowbit/core'
import { toyBatches, toyHost, toyJob, transformSuite } from '@lowbit/core/testkit'
import { awq, roundedBy, searchClip } from '@lowbit/algos-awq'
import { lossOf } from '../src/scale-search.js'

const runner = { describe, it }
const schemes: readonly Scheme[] = [uint4({ group: 8 }), int3({ group: 8 }), int4()]
transformSuite({ runner, factory: () => awq({ clip: false }), schemes })
describe('with clipping', () => transformSuite({ runner, factory: () => awq(), schemes, changesFunction: true }))

function jobOf(scheme: Scheme, seed: number): TransformJob {
  const { job } = toyJob({ scheme, seed, rows: 24, columns: 64 })
  return { group: { id: 'toy', producer: 'norm', channels: 64 }, sites: [{ ...job.site, tensor: job.weight, scheme }], statistics: job.statistics, linalg: referenceLinAlg, seed: 0 }
}

/** Round-to-nearest that counts its calls. */
function counting(): { readonly algorithm: RoundingAlgorithm; count(): number } {
  let count = 0
  const round: RoundingAlgorithm['round'] = (job) => {
    count++
    return rtn().round(job)
  }
  return { algorithm: { ...rtn(), round }, count: () => count }
}

describe('AWQ', () => {
  it('lowers the output error of rounding where channels are loud, for every weight statistic', async () => {
    for (const weightStat of ['mean', 'group-normalized', 'none'] as const) {
      for (let seed = 1; seed <= 3; seed++) {
        const { notes } = await awq({ weightStat, clip: false }).plan(jobOf(uint4({ group: 8 }), seed))
        expect(Number(notes?.['errorAfter'])).toBeLessThan(Number(notes?.['errorBefore']))
      }
    }
  })

  it('leaves alone what rounding does best', async () => {
    const job = jobOf(uint4({ group: 8 }), 1)
    // Weights on the grid already: every group holds 0 and 15 steps of 1/16, and any scale would move them off it.
    for (let i = 0; i < job.sites[0].tensor.data.length; i++) job.sites[0].tensor.data[i] = (i % 8 === 0 ? 15 : i % 8) / 16
    const result = await awq({ clip: false }).plan(job)
    expect(result.transforms).toEqual([])
    expect(result.skip).toBe('rounding as it is has the least error')
  })

  it('measures with the rounding it is given', async () => {
    const job = jobOf(uint4({ group: 8 }), 2)
    const { algorithm, count } = counting()
    const own = await awq({ clip: false }).plan(job)
    const given = await awq({ clip: false, rounding: algorithm }).plan(job)
    expect(count()).toBe(21)
    expect(given.transforms).toEqual(own.transforms)
  })

  it('keeps a scale only where the rounding that follows has less error with it', async () => {
    // One scale for all weights: what AWQ makes of a loud channel then costs all others.
    const coarse: RoundingAlgorithm = { ...rtn(), round: (job) => rtn().round({ ...job, scheme: int4({ perTensor: true }) }) }
    let [dropped, taken] = [0, 0]
    for (const [seed, follows] of [1, 2, 3, 4].flatMap((seed) => [refined(rtn()), coarse].map((follows) => [seed, follows] as const))) {
      const job = jobOf(int3({ group: 8 }), seed)
      const { gram } = job.statistics
      if (gram === undefined) throw new Error('no Gram matrix')
      const [plain] = (await awq({ clip: false }).plan(job)).transforms
      const [kept] = (await awq({ clip: false, check: follows }).plan(job)).transforms
      if (plain?.kind !== 'scale') throw new Error('no scale')
      const loss = (scales: Float32Array): Promise<number> => lossOf(job.sites, scales, follows, { gram, linalg: referenceLinAlg, seed: 0, signal: undefined })
      const helps = (await loss(plain.scales)) < (await loss(new Float32Array(64).fill(1)))
      expect(kept).toEqual(helps ? plain : undefined)
      if (helps) taken++
      else dropped++
    }
    expect(Math.min(dropped, taken)).toBeGreaterThan(0)
  })

  it('clips what is not excepted, and no error rises', async () => {
    const job = jobOf(int3({ group: 8 }), 3)
    const { gram } = job.statistics
    if (gram === undefined) throw new Error('no Gram matrix')
    const { errors, chosen } = await searchClip(job.sites[0], gram, (w) => roundedBy(rtn(), job.sites[0], Float32Array.from(w), gram, { gram, linalg: referenceLinAlg, seed: 0, signal: undefined }))
    expect(chosen.some((r) => r > 0)).toBe(true)
    chosen.forEach((r, i) => expect(errors[r * chosen.length + i]).toBeLessThanOrEqual(errors[i]))
    const kinds = async (algorithm: TransformAlgorithm): Promise<readonly string[]> => (await algorithm.plan(job)).transforms.map((t) => t.kind)
    expect(await kinds(awq())).toContain('clip')
    expect(await kinds(awq({ clipExcept: ['t?y'] }))).not.toContain('clip')
  })

  it('lowers the error of the toy model', async () => {
    const noise = async (transforms: readonly TransformAlgorithm[]): Promise<number> => {
      const host = toyHost()
      await quantize(host, { weights: int3({ group: 8 }), transforms, calibration: toyBatches({ batches: 8 }) })
      let total = 0
      for (const batch of toyBatches({ seed: 9, batches: 8 })) {
        const got = await host.run(batch)
        for (const [name, { data }] of Object.entries(await host.run(batch, { model: 'original' }))) data.forEach((v, i) => (total += (Number(v) - Number(got[name].data[i])) ** 2))
      }
      return total
    }
    expect(await noise([awq()])).toBeLessThan(await noise([]))
  })

  it('refuses a grid without candidates and a statistic it does not know', () => {
    expect(() => awq({ grid: 0 })).toThrow(/LOWBIT_ARGUMENT/)
  })

  it('is made again from its own configuration', () => {
    for (const plugin of [awq(), awq({ grid: 7, clip: false })]) {
      const again: unknown = Reflect.apply(awq, undefined, [plugin.config])
      expect(again).toHaveProperty('config', plugin.config)
    }
  })

  it('has its version from package.json', async () => {
    const manifest: { readonly version: string } = (await import('../package.json')).default
    expect(awq().version).toBe(manifest.version)
  })
})
