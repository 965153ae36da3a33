import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  int4,
  isLowbitError,
  passesByMemory,
  quantize,
  rankSites,
  requireMemory,
  rtn,
  ShardedSum,
  SHARD_BATCHES,
  statisticCost,
  statisticObserver,
  tensor,
  weightScheme,
  type Batch,
  type JobResult,
  type JobStore,
  type QuantizeOptions,
  type Report,
  type RoundingAlgorithm,
  type Site,
  type TransformAlgorithm,
  type WorkIdentity,
} from '@lowbit/core'
import { toyBatches, toyHost } from '@lowbit/core/testkit'
import { batchCount, repeatable } from '../src/pipeline/batches.js'
import { chunkByMemory, memoryFor } from '../src/pipeline/collect.js'

const data = toyBatches({ batches: 3, rows: 8 })

/** Needs a Gram matrix, so that its results are kept, and says something that the report must repeat. */
const needy: RoundingAlgorithm = { ...rtn(), name: 'needy', needs: () => ['gram'], round: async (job) => ({ ...(await rtn().round(job)), notes: { rows: job.statistics.gram?.rows ?? 0 }, warnings: ['so so'] }) }

class Kept implements JobStore {
  readonly results = new Map<string, JobResult>()
  identity: WorkIdentity | undefined

  open(identity: WorkIdentity): Promise<void> {
    this.identity = identity
    return Promise.resolve()
  }

  load(site: string): Promise<JobResult | undefined> {
    return Promise.resolve(this.results.get(site))
  }

  save(site: string, result: JobResult): Promise<void> {
    this.results.set(site, result)
    return Promise.resolve()
  }
}

const base: QuantizeOptions = { weights: weightScheme('int3'), rounding: needy, calibration: data, biasCorrection: true }

async function outcome(options: QuantizeOptions): Promise<{ readonly outputs: Batch; readonly bytes: Uint8Array; readonly report: Report }> {
  const model = toyHost()
  const { artifact, report } = await quantize(model, options)
  return { outputs: await model.run(data[0]), bytes: artifact.bytes(), report: { ...report, milliseconds: {} } }
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'nothing thrown',
    (error: unknown) => (isLowbitError(error) ? error.code : String(error)),
  )
}

describe('a run whose sites were kept', () => {
  it('gives the same model, report and ranking as a fresh one, bias correction included', async () => {
    const fresh = await outcome(base)
    const jobs = new Kept()
    await outcome({ ...base, jobs })
    expect(jobs.results.size).toBeGreaterThan(3)
    const resumed = await outcome({ ...base, jobs })
    expect(resumed).toEqual(fresh)
    expect(rankSites(resumed.report)).toEqual(rankSites(fresh.report))
    expect(fresh.report.sites.some((s) => s.outputSqnr !== undefined)).toBe(true)
    expect(fresh.report.warnings.some((w) => w.endsWith('so so'))).toBe(true)
    // Half of it: some from the store, some anew.
    for (const id of [...jobs.results.keys()].slice(0, 2)) jobs.results.delete(id)
    expect(await outcome({ ...base, jobs })).toEqual(fresh)
  })

  it('rounds again what was kept without all that this run asks for', async () => {
    const jobs = new Kept()
    await outcome({ ...base, biasCorrection: false, jobs })
    expect(await outcome({ ...base, jobs })).toEqual(await outcome(base))
  })

  it('is told what the results depend on: model, data, options, versions and linear algebra', async () => {
    const identity = async (options: Partial<QuantizeOptions> = {}): Promise<string> => {
      const jobs = new Kept()
      await outcome({ ...base, jobs, ...options })
      return JSON.stringify(jobs.identity)
    }
    const plain = await identity()
    expect(plain).toContain('@lowbit/core/fast')
    const others = await Promise.all([identity({ calibration: toyBatches({ batches: 2, rows: 8 }) }), identity({ seed: 7 }), identity({ biasCorrection: false }), identity({ weights: int4() }), identity({ rounding: { ...needy, version: '9.9.9' } })])
    expect(new Set([plain, ...others]).size).toBe(6)
    expect(await identity({ maxMemory: 2 ** 24 })).toBe(plain)
  })
})

describe('memory for statistics', () => {
  const site = (id: string, input: string, columns = 4096): Site => ({ id, kind: 'linear', op: 'MatMul', input: { name: input }, output: { name: id }, block: 0, weight: { name: id, dtype: 'float32', rows: 4, columns, shape: [columns, 4], groups: 1, columnsPerChannel: 1 } })

  it('changes no byte and no figure', async () => {
    const all = await outcome(base)
    expect(await outcome({ ...base, maxMemory: 2 ** 16 })).toEqual(all)
  })

  it('counts what a later site of the same input needs, and what is needed twice once', () => {
    const pairs = Array.from({ length: 10 }, (_, i) => [{ site: site(`q${i}`, `x${i}`), needs: [] as const }, { site: site(`k${i}`, `x${i}`), needs: ['gram'] as const }]).flat()
    for (const chunk of chunkByMemory(pairs, 200 * 2 ** 20)) expect(chunk.filter((w) => w.needs.length > 0).length * 4096 * 4096 * 8).toBeLessThanOrEqual(200 * 2 ** 20)
    const shared = Array.from({ length: 10 }, (_, i) => ({ site: site(`q${i}`, 'x'), needs: ['gram'] as const }))
    expect(chunkByMemory(shared, 200 * 2 ** 20)).toHaveLength(1)
  })

  it('never plans more than there is, whatever is asked for', () => {
    const statistics = ['gram', 'mean', 'samples'] as const
    fc.assert(
      fc.property(fc.array(fc.record({ columns: fc.integer({ min: 1, max: 3000 }), input: fc.integer({ min: 0, max: 5 }), needs: fc.subarray([...statistics]) }), { maxLength: 20 }), fc.integer({ min: 2 ** 24, max: 2 ** 29 }), fc.option(fc.integer({ min: 1, max: 1000 }), { nil: undefined }), (sites, maxMemory, batches) => {
        const wanted = sites.map(({ columns, input, needs }, i) => ({ site: site(`s${i}`, `x${input}`, columns), needs }))
        const cost = (w: (typeof wanted)[number], s: (typeof statistics)[number]) => statisticCost(s, { ...w.site.weight, ...(batches === undefined ? {} : { batches }) })
        const alone = (w: (typeof wanted)[number]): number => w.needs.reduce((sum, s) => sum + cost(w, s).kept, 0) + Math.max(0, ...w.needs.map((s) => cost(w, s).passing))
        if (!wanted.every((w) => alone(w) <= maxMemory)) {
          expect(() => memoryFor(wanted, maxMemory, batches)).toThrow(/LOWBIT_LIMIT/)
          return
        }
        expect(memoryFor(wanted, maxMemory, batches)).toBe(maxMemory)
        const chunks = chunkByMemory(wanted, maxMemory, batches)
        expect(chunks.flat()).toEqual(wanted)
        for (const chunk of chunks) {
          const costs = [...new Map(chunk.flatMap((w) => w.needs.map((s) => [`${w.site.input.name} ${w.site.weight.columns} ${s}`, cost(w, s)] as const))).values()]
          const kept = costs.reduce((sum, c) => sum + c.kept, 0)
          for (const pass of passesByMemory(costs, (c) => c, maxMemory)) {
            expect(kept + pass.reduce((sum, c) => sum + c.passing, 0)).toBeLessThanOrEqual(maxMemory)
          }
        }
      }),
    )
  })

  it('refuses a Gram matrix that does not fit, with its size, before reading any data', async () => {
    const wanted = [{ site: site('head', 'x', 200_000), needs: ['gram'] as const }]
    expect(() => memoryFor(wanted, undefined)).toThrow(/LOWBIT_LIMIT.*gram of site head.*MiB/)
    let read = 0
    const watched = { *[Symbol.iterator]() { read++; yield* data } }
    const model = toyHost()
    const wide = model.sites().map((s) => (s.tiedTo === undefined ? { ...s, weight: { ...s.weight, columns: 200_000 } } : s))
    expect(await codeOf(quantize(Object.assign(model, { sites: () => wide, readWeight: () => Promise.resolve(tensor('float32', [1, 1], Float32Array.of(1))) }), { ...base, calibration: watched }))).toBe('LOWBIT_LIMIT')
    expect(read).toBe(0)
  })

  it('counts bins and rows as they are asked for', () => {
    expect(statisticCost('histogram', { columns: 1, groups: 1 }, { bins: 1e9 }).kept).toBe(16e9)
    expect(() => requireMemory('histogram', statisticCost('histogram', { columns: 1, groups: 1 }, { bins: 1e9 }), 2 ** 29, 'x')).toThrow(/LOWBIT_LIMIT/)
    expect(statisticCost('samples', { columns: 100, groups: 2 }, { rows: 1000 }).kept).toBe(800_000)
  })

  it('is given by default to a single statistic that takes more', () => {
    expect(memoryFor([{ site: site('a', 'x', 9000), needs: ['gram'] }], undefined)).toBeGreaterThan(9000 * 9000 * 8)
    expect(memoryFor([{ site: site('a', 'x', 90), needs: ['gram'] }], undefined)).toBe(512 * 2 ** 20)
  })
})

describe('calibration data', () => {
  it('that can be read once only is taken whole', async () => {
    const once = (function* () { yield* data })()
    const onceAsync = (async function* () { yield* data })()
    const wanted = await outcome(base)
    expect(await outcome({ ...base, maxMemory: 2 ** 16, calibration: once })).toEqual(wanted)
    expect(await outcome({ ...base, maxMemory: 2 ** 16, calibration: onceAsync })).toEqual(wanted)
    const same = (function* () { yield* data })()
    expect(await outcome({ ...base, maxMemory: 2 ** 16, calibration: { [Symbol.iterator]: () => same } })).toEqual(wanted)
  })

  it('that can be read once only is refused where it is larger than memory', async () => {
    const endless = (function* () { for (;;) yield* data })()
    expect(await codeOf(repeatable(endless, 10_000))).toBe('LOWBIT_DATA')
  })

  it('must be as long in every pass', async () => {
    let left = 1
    const shrinking = { *[Symbol.iterator]() { yield* left-- > 0 ? data : data.slice(1) } }
    const source = await repeatable({ [Symbol.iterator]: () => shrinking[Symbol.iterator]() }, 1e9)
    const count = async (): Promise<number> => { let n = 0; for await (const batch of source) n += batch === undefined ? 0 : 1; return n }
    expect(await count()).toBe(3)
    expect(batchCount(source)).toBe(3)
    expect(await codeOf(count())).toBe('LOWBIT_DATA')
    expect(await repeatable(data, 0)).toBe(data)
  })
})

describe('a plan of transforms', () => {
  it('is not begun where the host has no place for a later one of it', async () => {
    const host = toyHost()
    const apply = host.apply.bind(host)
    Object.defineProperty(host, 'supports', { value: { ...host.supports, transforms: ['scale'] } })
    const both: TransformAlgorithm = {
      kind: 'transform', name: 'both', version: '1.0.0', apiVersion: 2, config: {}, needs: () => [],
      plan: async ({ group, sites }) => ({ transforms: [{ kind: 'scale', scales: new Float32Array(group.channels).fill(2) }, { kind: 'clip', site: sites[0].id, weight: sites[0].tensor }] }),
    }
    const applied: string[] = []
    host.apply = async (group, transform) => (applied.push(`${group} ${transform.kind}`), apply(group, transform))
    const { report } = await quantize(host, { weights: int4(), transforms: [both] })
    expect(applied).toEqual([])
    expect(report.transforms.every((t) => t.applied.length === 0 && /no place for a 'clip'/.test(t.reason ?? ''))).toBe(true)
    await host.dispose()
  })
})

describe('sums in shards', () => {
  it('are those of shards summed elsewhere and added in order', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 3 * SHARD_BATCHES }), (values) => {
        const sum = new ShardedSum(1)
        for (const v of values) sum.next()[0] += v
        const shards = Array.from({ length: Math.ceil(values.length / SHARD_BATCHES) }, (_, s) => values.slice(s * SHARD_BATCHES, (s + 1) * SHARD_BATCHES).reduce((a, b) => a + b, 0))
        expect(sum.result()[0]).toBe(shards.slice(1).reduce((a, b) => a + b, shards[0]))
      }),
      { numRuns: 30 },
    )
  })

  it.each(['mean', 'mean-abs-per-channel', 'gram', 'cross-gram'] as const)('make the statistic %s, whoever computes it', (statistic) => {
    // Less than half a step of the first shard's sum: one by one they are lost, as a sum of their own they are not.
    const small = statistic.endsWith('gram') ? 4e10 : 3000
    const values = Array.from({ length: 2 * SHARD_BATCHES + 5 }, (_, i) => Math.fround(i % 3 === 0 ? (i < SHARD_BATCHES ? 1e18 : small) : Math.sin(i)))
    const observer = statisticObserver(statistic, { kind: 'linear' })
    const sum = new ShardedSum(1)
    for (const v of values) {
      const x = tensor('float32', [1, 1], Float32Array.of(v))
      observer.observe(x, x)
      sum.next()[0] += statistic === 'mean' ? v : statistic === 'mean-abs-per-channel' ? Math.abs(v) : v * v
    }
    const seen = observer.result()
    const [total] = sum.result()
    expect(seen.data[0]).toBe('rows' in seen ? total : Math.fround(total / values.length))
    expect(values.reduce((a, v) => a + (statistic === 'mean' ? v : v * v), 0)).not.toBe(total)
  })
})
