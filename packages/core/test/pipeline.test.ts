import { describe, expect, it } from 'vitest'
import {
  int4,
  int8,
  isLowbitError,
  quantize,
  rtn,
  weightScheme,
  type Batch,
  type JobResult,
  type Json,
  type ProgressEvent,
  type QuantizeOptions,
  type RoundingAlgorithm,
  type TransformAlgorithm,
} from '@lowbit/core'
import { hostSuite, reopenToy, toyBatches, toyHost } from '@lowbit/core/testkit'

const data = toyBatches({ batches: 3, rows: 8 })

/** Round-to-nearest that asks for a Gram matrix and notes down what it was given. */
function spy(seen: Map<string, number[]>): RoundingAlgorithm {
  const inner = rtn()
  return {
    ...inner,
    name: 'spy',
    config: null,
    needs: () => ['gram'],
    round: async (job) => {
      seen.set(job.site.id, [...(job.statistics.gram?.data ?? [])])
      return inner.round(job)
    },
  }
}

async function run(options: Partial<QuantizeOptions> = {}) {
  const host = toyHost()
  const result = await quantize(host, { weights: int8(), ...options })
  return { host, ...result }
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'nothing thrown',
    (error: unknown) => (isLowbitError(error) ? error.code : String(error)),
  )
}

hostSuite({ runner: { describe, it }, factory: async () => toyHost(), batches: data, reopen: reopenToy, cases: (i) => i % 4 === 2, onSkip: ({ test, reason }) => console.info(`left out: ${test} (${reason})`) })

describe('quantize', () => {
  it('reports every site, with the weight counted once where it is tied', async () => {
    const { report, host } = await run()
    expect(report.sites.map((s) => s.id)).toEqual(host.sites().map((s) => s.id))
    const tied = host.sites().filter((s) => s.tiedTo !== undefined)
    expect(tied.length).toBeGreaterThan(0)
    for (const { id } of tied) expect(report.sites.find((s) => s.id === id)).toMatchObject({ status: 'quantized', bytesBefore: 0, bytesAfter: 0 })
    expect(report.sites.every((s) => s.status === 'quantized' && (s.weightSqnr ?? 0) > 25)).toBe(true)
  })

  it('writes who made it into the artifact, and the same bytes every time', async () => {
    const a = await run()
    const b = await run()
    expect(a.artifact.bytes()).toEqual(b.artifact.bytes())
    expect(new TextDecoder().decode(a.artifact.bytes())).toContain('@lowbit/core/rtn')
    expect(a.report.plugins.map((p) => p.name)).toEqual(['@lowbit/core/toy-host', '@lowbit/core/rtn'])
  })

  it('lets later overrides win, leaves the excluded in float, and says why', async () => {
    const { report } = await run({
      weights: int4({ group: 8 }),
      overrides: [{ match: '*', weights: int8() }, { match: 'gate', weights: null }],
      exclude: ['up'],
    })
    const site = (id: string) => report.sites.find((s) => s.id === id)
    expect(site('gate')).toMatchObject({ status: 'float', reason: 'override' })
    expect(site('up')).toMatchObject({ status: 'float', reason: 'excluded' })
    expect(site('down')?.scheme?.dtype).toBe('int8')
  })

  it('refuses a pattern that matches nothing', async () => {
    expect(await codeOf(run({ exclude: ['gaet'] }))).toBe('LOWBIT_NOT_FOUND')
  })

  it('takes the scheme that the host offers instead, or leaves the site in float', async () => {
    const host = toyHost({ accepts: (id) => (id === 'down' ? { ok: false, reason: 'no int4 here', instead: int8() } : id === 'up' ? { ok: false, reason: 'not at all' } : { ok: true }) })
    const { report } = await quantize(host, { weights: int4({ group: 8 }) })
    expect(report.sites.find((s) => s.id === 'down')).toMatchObject({ status: 'quantized', scheme: { dtype: 'int8' } })
    expect(report.sites.find((s) => s.id === 'down')?.reason).toMatch(/no int4 here: int8 per channel/)
    expect(report.sites.find((s) => s.id === 'up')).toMatchObject({ status: 'float', reason: 'not at all' })
  })

  it('gives the same statistics and bytes however little memory it has', async () => {
    const roomy = new Map<string, number[]>()
    const tight = new Map<string, number[]>()
    const a = await run({ rounding: spy(roomy), calibration: data })
    const b = await run({ rounding: spy(tight), calibration: data, maxMemory: 1 })
    expect(tight).toEqual(roomy)
    expect(b.artifact.bytes()).toEqual(a.artifact.bytes())
  })

  it('rounds a table that is looked up and is the output layer too for what the output layer sees, and says what that suffers', async () => {
    const seen = new Map<string, number[]>()
    const { report, host } = await run({ rounding: spy(seen), calibration: data, weights: int4({ group: 8 }) })
    const request = { statistic: 'gram', target: { site: 'unembed' } } as const
    const gram = (await toyHost().observe([request], data)).get(request)
    // What the products see, and as much again of each row as it is: lookups see every direction.
    const given = seen.get('embed') ?? []
    const size = gram?.size ?? 0
    const added = given.map((v, i) => v - Number(gram?.data[i]))
    const [first] = added
    expect(first).toBeGreaterThan(0)
    added.forEach((v, i) => expect(v).toBeCloseTo(i % (size + 1) === 0 ? first : 0, 4))
    expect(seen.has('unembed')).toBe(false)
    const line = (id: string) => report.sites.find((s) => s.id === id)
    expect(line('unembed')).toMatchObject({ kind: 'linear', status: 'quantized', reason: expect.stringContaining('embed') })
    expect(line('unembed')?.outputSqnr).toBeGreaterThan(10)
    expect(line('embed')?.outputSqnr).toBeUndefined()
    await host.dispose()
  })

  it('shows later blocks the quantized ones in sequential mode, and the float ones in one pass', async () => {
    const once = new Map<string, number[]>()
    const sequential = new Map<string, number[]>()
    const weights = weightScheme('int2')
    const { host } = await run({ weights, rounding: spy(once), calibration: data })
    await run({ weights, rounding: spy(sequential), calibration: data, mode: 'sequential' })
    const owners = host.sites().filter((s) => s.tiedTo === undefined && s.kind !== 'embedding')
    const first = Math.min(...owners.map((s) => s.block))
    const last = owners.reduce((a, b) => (b.block > a.block ? b : a))
    expect(last.block).toBeGreaterThan(first)
    const start = owners.find((s) => s.block === first)
    expect(sequential.get(start?.id ?? '')).toEqual(once.get(start?.id ?? ''))
    expect(sequential.get(last.id)).not.toEqual(once.get(last.id))
  })

  it('reads calibration data anew for each pass, also from an async source', async () => {
    let passes = 0
    const source = {
      async *[Symbol.asyncIterator](): AsyncGenerator<Batch> {
        passes++
        yield* data
      },
    }
    const { report } = await run({ rounding: spy(new Map()), calibration: source, maxMemory: 1 })
    expect(passes).toBeGreaterThan(1)
    expect(report.sites.filter((s) => s.outputSqnr !== undefined).length).toBeGreaterThan(0)
  })

  it('asks for data where an algorithm needs it', async () => {
    expect(await codeOf(run({ rounding: spy(new Map()) }))).toBe('LOWBIT_CALIBRATION')
    expect(await codeOf(run({ activations: { dtype: 'uint8', method: 'minmax' } }))).toBe('LOWBIT_CALIBRATION')
  })

  it('warns of ranges that come from few samples, and not of enough', async () => {
    const few = await run({ activations: { dtype: 'uint8', method: 'minmax' }, calibration: toyBatches({ batches: 3, rows: 3 }) })
    expect(few.report.warnings).toContainEqual(expect.stringMatching(/^ranges of activations come from 9 samples/))
    const enough = await run({ activations: { dtype: 'uint8', method: 'minmax' }, calibration: toyBatches({ batches: 5, rows: 2 }) })
    expect(enough.report.warnings.join()).not.toContain('samples')
  })

  it('gives static activations ranges that hold what was seen', async () => {
    const { report } = await run({ activations: { dtype: 'uint8', method: 'minmax' }, calibration: data })
    const quantized = report.activations.filter((a) => a.status === 'quantized')
    expect(quantized.length).toBe(report.activations.length)
    for (const { scale = 0, zeroPoint = 0, min = 0, max = 0 } of quantized) {
      expect((0 - zeroPoint) * scale).toBeLessThanOrEqual(min + scale)
      expect((255 - zeroPoint) * scale).toBeGreaterThanOrEqual(max - scale)
    }
  })

  it('lowers the mean output shift by bias correction', async () => {
    const shift = async (biasCorrection: boolean): Promise<number> => {
      const { host } = await run({ weights: weightScheme('int2'), include: ['head'], calibration: data, biasCorrection })
      let total = 0
      for (const batch of data) {
        const now = (await host.run(batch)).scores.data
        const before = (await host.run(batch, { model: 'original' })).scores.data
        for (let i = 0; i < now.length; i++) total += Number(now[i]) - Number(before[i])
      }
      return Math.abs(total)
    }
    expect(await shift(true)).toBeLessThan(0.05 * (await shift(false)))
  })

  it('keeps finished sites and does not compute them again', async () => {
    const store = new Map<string, JobResult>()
    const jobs = { load: async (id: string) => store.get(id), save: async (id: string, r: JobResult) => void store.set(id, r) }
    const stop = new AbortController()
    let rounds = 0
    const counting = (limit: number): RoundingAlgorithm => {
      const inner = spy(new Map())
      return {
        ...inner,
        round: async (job) => {
          if (++rounds === limit) stop.abort()
          return inner.round(job)
        },
      }
    }
    const whole = await run({ rounding: spy(new Map()), calibration: data })
    expect(await codeOf(run({ rounding: counting(3), calibration: data, jobs, signal: stop.signal }))).toBe('LOWBIT_ABORTED')
    const kept = store.size
    expect(kept).toBeGreaterThanOrEqual(2)
    rounds = 0
    const resumed = await run({ rounding: counting(-1), calibration: data, jobs })
    expect(rounds).toBe(whole.report.sites.filter((s) => s.bytesBefore > 0).length - kept)
    expect(resumed.artifact.bytes()).toEqual(whole.artifact.bytes())
  })

  it('tells how far it is, ending each phase at its total', async () => {
    const events: ProgressEvent[] = []
    await run({ rounding: spy(new Map()), calibration: data, onProgress: (e) => events.push(e) })
    const rounding = events.filter((e) => e.phase === 'round')
    expect(rounding.at(-1)).toMatchObject({ done: rounding[0].total, total: rounding[0].total })
    expect(rounding.every((e, i) => i === 0 || e.done >= rounding[i - 1].done)).toBe(true)
  })

  it('applies transforms in order and records what became of each fold group', async () => {
    const order: string[] = []
    const scaling = (name: string, factor: number): TransformAlgorithm => ({
      kind: 'transform',
      name,
      version: '1.0.0',
      apiVersion: 2,
      config: { factor } satisfies Json,
      needs: () => ['absmax-per-channel'],
      plan: async ({ group, statistics }) => {
        order.push(`${name} ${group.id} ${statistics['absmax-per-channel']?.data.length === group.channels}`)
        return { transforms: [{ kind: 'scale', scales: new Float32Array(group.channels).fill(factor) }] }
      },
    })
    const { report, host } = await run({ transforms: [scaling('a', 2), scaling('b', 0.5)], calibration: data })
    const groups = host.foldGroups().length
    expect(order.slice(0, groups).every((o) => o.startsWith('a ') && o.endsWith('true'))).toBe(true)
    expect(order.slice(groups).every((o) => o.startsWith('b '))).toBe(true)
    expect(report.transforms.length).toBe(2 * groups)
    expect(report.transforms.every((t) => t.applied.length === 1 || t.reason !== undefined)).toBe(true)
  })

  it('refuses a format the host does not write', async () => {
    expect(await codeOf(run({ format: 'gguf' }))).toBe('LOWBIT_UNSUPPORTED')
  })
})
