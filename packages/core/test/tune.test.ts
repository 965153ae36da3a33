import { describe, expect, it } from 'vitest'
import { int8, rankSites, quantize, rtn, tune, weightScheme, type Journal, type QuantizeOptions, type RoundingAlgorithm, type Rung, type Trial, type TuneOptions } from '@lowbit/core'
import { toyBatches, toyHost } from '@lowbit/core/testkit'

const data = toyBatches({ batches: 2, rows: 8 })
const open = async () => toyHost()

/** −(relative squared error of the outputs): 0 for the float model. */
const metric: TuneOptions['metric'] = async ({ run }) => {
  const float = toyHost()
  let noise = 0
  let power = 0
  for (const batch of data) {
    const want = await float.run(batch)
    const got = await run(batch)
    for (const [name, { data: x }] of Object.entries(want)) {
      x.forEach((v: number | bigint, i: number) => {
        noise += (Number(v) - Number(got[name].data[i])) ** 2
        power += Number(v) ** 2
      })
    }
  }
  return -noise / power
}

const ladder: readonly Rung[] = [
  { name: 'int2', options: { weights: weightScheme('int2') } },
  { name: 'int4', options: { weights: weightScheme('int4') } },
  { name: 'int8', options: { weights: int8() } },
]

describe('tune', () => {
  it('takes the first rung that is good enough, and no later one', async () => {
    const loose = await tune(open, { ladder, metric, tolerance: 10 })
    expect(loose.best?.trial).toMatchObject({ rung: 'int2', float: [] })
    expect(loose.trials.length).toBe(1)
    const tight = await tune(open, { ladder, metric, tolerance: 1e-3, maxFloat: 1 })
    expect(tight.best?.trial.rung).toBe('int8')
    expect(tight.best?.trial.metric).toBeGreaterThanOrEqual(tight.float - 1e-3)
  })

  it('gives worst sites back to float, as few as needed', async () => {
    const only = [ladder[1]]
    const host = toyHost()
    const { report } = await quantize(host, only[0].options)
    const ranked = rankSites(report)
    const errorWith = async (count: number): Promise<number> => {
      const h = toyHost()
      await quantize(h, { ...only[0].options, exclude: ranked.slice(0, count) })
      return -(await metric({ run: (b) => h.run(b) }))
    }
    const errors = await Promise.all(ranked.map((_, i) => errorWith(i)))
    const tolerance = (errors[2] + errors[3]) / 2
    const result = await tune(open, { ladder: only, metric, tolerance, maxFloat: ranked.length - 1 })
    const count = result.best?.trial.float.length ?? -1
    expect(errors[count]).toBeLessThanOrEqual(tolerance)
    expect(errors[count - 1]).toBeGreaterThan(tolerance)
    expect(result.best?.options.exclude).toEqual(ranked.slice(0, count))
  })

  it('takes a later recipe that is smaller than an earlier one with sites in float', async () => {
    const [two, , eight] = ladder
    const alone = await tune(open, { ladder: [two], metric, tolerance: 0.05, maxFloat: 100 })
    const float = alone.best?.trial
    expect(float?.float.length).toBeGreaterThan(0)
    const both = await tune(open, { ladder: [two, eight], metric, tolerance: 0.05, maxFloat: 100 })
    expect(both.best?.trial).toMatchObject({ rung: 'int8', float: [] })
    expect(both.best?.trial.bytes).toBeLessThan(float?.bytes ?? 0)
    expect(both.best?.options).toBe(eight.options)
  })

  it('says so when nothing is good enough', async () => {
    const result = await tune(open, { ladder: [ladder[0]], metric, tolerance: 1e-12, maxFloat: 2 })
    expect(result.best).toBeUndefined()
    expect(result.trials.map((t) => t.float.length)).toEqual([0, 1, 2])
  })

  it('does not repeat trials that a journal holds', async () => {
    const kept = new Map<string, Trial>()
    const journal: Journal = { load: async (k) => kept.get(k), save: async (k, t) => void kept.set(k, t) }
    const first = await tune(open, { ladder, metric, tolerance: 1e-3, maxFloat: 1, journal })
    let measured = 0
    const counting: TuneOptions['metric'] = async (c) => {
      measured++
      return metric(c)
    }
    const second = await tune(open, { ladder, metric: counting, tolerance: 1e-3, maxFloat: 1, journal })
    expect(second).toEqual(first)
    expect(measured).toBe(1)
    const looser = await tune(open, { ladder, metric: counting, tolerance: 10, maxFloat: 1, journal })
    expect(looser.best?.trial.rung).toBe('int2')
    expect(measured).toBe(2)
  })

  it('refuses a metric that is no number', async () => {
    await expect(tune(open, { ladder, metric: async () => NaN, tolerance: 1 })).rejects.toThrow(/LOWBIT_ARGUMENT.*NaN/)
  })

  it('rounds a site once for all trials of a recipe, unless sites depend on each other', async () => {
    const rounded = async (options: Partial<QuantizeOptions>): Promise<number> => {
      let count = 0
      const inner = rtn({ range: 'search-gram' })
      const rounding: RoundingAlgorithm = { ...inner, round: (job) => (count++, inner.round(job)) }
      const { trials } = await tune(open, { ladder: [{ name: 'int2', options: { weights: weightScheme('int2'), rounding, calibration: data, exclude: ['embed', 'unembed'], ...options } }], metric, tolerance: 0, maxFloat: 4 })
      expect(trials.length).toBeGreaterThan(2)
      return count
    }
    expect(await rounded({})).toBe(8)
    expect(await rounded({ mode: 'sequential' })).toBeGreaterThan(16)
  })
})
