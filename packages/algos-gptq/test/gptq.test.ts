import { describe, expect, it } from 'vitest'
import * as fc from 'fast-check'
import { dequantize, fastLinAlg, int2, int3, int4, int8, isLowbitError, outputError, quantize, rtn, uint4, weightScheme, type RoundingAlgorithm, type RoundingJob, type Scheme } from '@lowbit/core'
import { roundingSuite, toyBatches, toyHost, toyJob } from '@lowbit/core/testkit'
import { gptq } from '@lowbit/algos-gptq'

const group = 16
const schemes: readonly Scheme[] = [
  int4({ group }),
  int2({ group }),
  int3({ group }),
  int8({ group }),
  int4(),
  uint4({ group }),
  weightScheme('uint2', { group, symmetric: false }),
  weightScheme('uint8', { symmetric: false }),
  int4({ group, symmetric: false }),
  weightScheme('uint4', { group, symmetric: true }),
  { ...uint4({ group }), zeroPoint: 'float' },
  int4({ perTensor: true }),
  weightScheme('nf4', { group }),
  weightScheme('float8e4m3fn'),
]
const runner = { describe, it }
roundingSuite({ runner, factory: () => gptq(), schemes, better: 'output', refuses: [weightScheme('binary', { group }), { ...int4(), granularity: { kind: 'channel', axis: 1 } }] })
// Two symmetric bits have three useful codes under the published scale, `2·absmax / 3`: round-to-nearest, whose scale makes use of
// all four, is on a par with it.
describe('published scales', () => roundingSuite({ runner, factory: () => gptq({ scales: 'range' }), schemes: schemes.filter((s) => s.dtype !== 'int2' && s.dtype !== 'float8e4m3fn'), better: 'output' }))
describe('act-order', () => roundingSuite({ runner, factory: () => gptq({ actOrder: 'static' }), schemes: schemes.slice(0, 6), better: 'output' }))

async function error(algorithm: RoundingAlgorithm, job: RoundingJob): Promise<number> {
  const { q } = await algorithm.round(job)
  const { gram } = job.statistics
  if (gram === undefined) throw new Error('a job without Gram matrix')
  return outputError(job.weight.data, dequantize(q).data, job.site.weight.rows, gram, fastLinAlg)
}

/** Geometric mean of error ratios over a few jobs. */
async function ratio(a: RoundingAlgorithm, b: RoundingAlgorithm, scheme: Scheme): Promise<number> {
  let sum = 0
  for (let seed = 1; seed <= 6; seed++) {
    const { job } = toyJob({ scheme, seed, rows: 16, columns: 96, linalg: fastLinAlg })
    sum += Math.log((await error(a, job)) / (await error(b, job)))
  }
  return Math.exp(sum / 6)
}

describe('GPTQ against its neighbours', () => {
  it.each([2, 3, 4, 8] as const)('has far less output error than rounding on the same grid, %i bits', async (bits) => {
    // A huge damping turns GPTQ into rounding to nearest on its own grid: the same scales, no feedback.
    const scheme = weightScheme(`int${bits}`, { group: 32 })
    expect(await ratio(gptq(), gptq({ percdamp: 1e9 }), scheme)).toBeLessThan(0.5)
  })

  it('gains from scales searched through the Gram matrix, more than from least squared weight error', async () => {
    for (const scheme of [int4({ group: 32 }), int3({ group: 32 }), int2({ group: 32 }), int2({ group: 32, symmetric: false }), int4()]) {
      expect(await ratio(gptq(), gptq({ scales: 'range' }), scheme)).toBeLessThan(0.95)
      expect(await ratio(gptq(), gptq({ scales: 'mse' }), scheme)).toBeLessThan(1)
    }
  })

  it.each([
    ['int4', int4()],
    ['int4 asymmetric', int4({ symmetric: false })],
    ['int2', int2()],
  ] as const)('gains as much where all rows are searched together, %s in 200 columns', async (_, scheme) => {
    // Groups of 100 are searched row by row, 200 columns together: both must gain about the same on scales as published.
    const gain = async (columns: number): Promise<number> => {
      let sum = 0
      for (let seed = 1; seed <= 4; seed++) {
        const { job } = toyJob({ scheme, seed, rows: 16, columns, linalg: fastLinAlg })
        sum += Math.log((await error(gptq(), job)) / (await error(gptq({ scales: 'range' }), job)))
      }
      return Math.exp(sum / 4)
    }
    const [narrow, wide] = [await gain(100), await gain(200)]
    expect(wide).toBeLessThan(0.95)
    expect(wide).toBeLessThan(narrow * 1.1)
  })

  it.each(['nf4', 'fp4', 'float8e4m3fn', 'float8e5m2'] as const)('has less output error than rounding to the same table, %s, and gains from refining', async (dtype) => {
    for (const scheme of [weightScheme(dtype, { group: 32 }), weightScheme(dtype)]) {
      expect(await ratio(gptq({ scales: 'range' }), rtn(), scheme)).toBeLessThan(0.8)
      expect(await ratio(gptq(), gptq({ scales: 'range' }), scheme)).toBeLessThan(1)
      expect(await ratio(gptq(), gptq({ refine: 0 }), scheme)).toBeLessThan(1)
      expect((await gptq().round(toyJob({ scheme }).job)).q.params.scales.every((s) => s > 0)).toBe(true)
    }
  })

  it('keeps the scales it is given, and beats the rounding they came from', async () => {
    for (const scheme of [int4({ group: 32 }), uint4({ group: 32 }), int8()]) {
      const { job } = toyJob({ scheme, rows: 16, columns: 96 })
      const from = rtn()
      const given = await from.round(job)
      const { q } = await gptq({ scales: from }).round(job)
      expect(q.params).toEqual({ ...given.q.params, scales: q.params.scales })
      expect(q.params.scales).toEqual(given.q.params.scales)
      expect(await error(gptq({ scales: from }), job)).toBeLessThan(await error(from, job))
    }
  })

  it('follows negative scales', async () => {
    const { job } = toyJob({ scheme: int2({ group: 32 }), rows: 16, columns: 96 })
    const { q } = await gptq().round(job)
    expect(q.params.scales.some((s) => s < 0)).toBe(true)
    const positive = await gptq({ scales: 'gram', negativeScales: false }).round(job)
    expect(positive.q.params.scales.every((s) => s > 0)).toBe(true)
    expect(await ratio(gptq(), gptq({ scales: 'gram', negativeScales: false }), int2({ group: 32 }))).toBeLessThan(1)
  })
})

describe('GPTQ', () => {
  it('does not depend on the block size or on how rows are cut into strips', () =>
    fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 70 }), fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 40 }), fc.constantFrom<'range' | 'gram'>('range', 'gram'), async (columns, blocksize, size, scales) => {
        const { job } = toyJob({ scheme: uint4({ group: size }), rows: 5, columns, seed: columns })
        const a = await gptq({ blocksize, scales }).round(job)
        const b = await gptq({ blocksize: 128, scales }).round(job)
        const differing = Array.from(a.q.codes).reduce((n, c, i) => n + Number(c !== b.q.codes[i]), 0)
        // Sums in another order may turn a code that lies on a tie.
        expect(differing).toBeLessThanOrEqual(Math.ceil(columns * 5 * 0.02))
      }),
      { numRuns: 40 },
    ))

  it('gives a grouped convolution what each of its groups would get alone', async () => {
    const { job } = toyJob({ scheme: int4(), rows: 8, columns: 18, groups: 2 })
    const { q } = await gptq().round(job)
    const { gram } = job.statistics
    if (gram === undefined) throw new Error('no Gram matrix')
    for (const g of [0, 1]) {
      const weight = { ...job.weight, shape: [4, 18], data: job.weight.data.slice(g * 72, (g + 1) * 72) }
      const alone = await gptq().round({
        ...job,
        weight,
        site: { ...job.site, weight: { ...job.site.weight, rows: 4, groups: 1 } },
        statistics: { gram: { ...gram, groups: 1, data: gram.data.slice(g * 324, (g + 1) * 324) } },
      })
      expect(alone.q.codes).toEqual(q.codes.slice(g * 72, (g + 1) * 72))
    }
  })

  it('warns of too few rows, and says how many more help', async () => {
    const { job } = toyJob({ scheme: int4({ group }), columns: 64, samples: 20 })
    const { warnings } = await gptq().round(job)
    expect(warnings?.join()).toMatch(/20 calibration rows for 64 input columns: 44 more/)
    expect((await gptq().round(toyJob({ scheme: int4({ group }), columns: 64 }).job)).warnings).toBeUndefined()
  })

  it('raises the damping of a matrix that is not positive definite, and refuses it undamped', async () => {
    const { job } = toyJob({ scheme: int4({ group }), columns: 32 })
    const { gram } = job.statistics
    if (gram === undefined) throw new Error('no Gram matrix')
    const data = Float64Array.from(gram.data)
    data[0] = -0.1 * Math.max(...data)
    const indefinite = { ...job, statistics: { gram: { ...gram, data } } }
    const { notes, warnings } = await gptq().round(indefinite)
    expect(Number(notes?.['percdamp'])).toBeGreaterThan(0.01)
    expect(warnings?.join()).toMatch(/damping raised from 0.01/)
    expect(isLowbitError(await gptq({ percdamp: 0 }).round(indefinite).catch((e: unknown) => e), 'LOWBIT_SINGULAR')).toBe(true)
  })

  it('rounds where no data came by', async () => {
    const { job } = toyJob({ scheme: int4({ group }) })
    const { gram } = job.statistics
    if (gram === undefined) throw new Error('no Gram matrix')
    const { q, notes } = await gptq().round({ ...job, statistics: { gram: { ...gram, data: gram.data.map(() => 0) } } })
    expect(notes?.['deadColumns']).toBe(64)
    expect(q.codes).toEqual((await gptq({ percdamp: 1e9 }).round(job)).q.codes)
  })

  it('names NaN in the statistics', async () => {
    const { job } = toyJob({ scheme: int4({ group }) })
    const { gram } = job.statistics
    if (gram === undefined) throw new Error('no Gram matrix')
    const failure = gptq().round({ ...job, statistics: { gram: { ...gram, data: gram.data.map(() => Number.NaN) } } })
    expect(isLowbitError(await failure.catch((e: unknown) => e), 'LOWBIT_NONFINITE')).toBe(true)
  })

  it.each([{ percdamp: -1 }, { percdamp: Number.NaN }, { blocksize: 0 }, { actOrder: 'static', staticGroups: false }] as const)('refuses %o', (options) => {
    expect(() => gptq(options)).toThrow(/LOWBIT_ARGUMENT/)
  })

  it('runs on the toy host, one-pass and sequential, and beats rounding there', async () => {
    const noise = async (rounding: RoundingAlgorithm, mode: 'one-pass' | 'sequential'): Promise<number> => {
      const host = toyHost()
      const calibration = toyBatches({ seed: 3, batches: 8 })
      await quantize(host, { weights: int4({ group: 8 }), rounding, calibration, mode })
      let total = 0
      for (const batch of toyBatches({ seed: 9, batches: 8 })) {
        const got = await host.run(batch)
        const want = await host.run(batch, { model: 'original' })
        for (const [name, { data }] of Object.entries(want)) data.forEach((v, i) => (total += (Number(v) - Number(got[name].data[i])) ** 2))
      }
      return total
    }
    const plain = await noise(rtn(), 'one-pass')
    expect(await noise(gptq(), 'one-pass')).toBeLessThan(plain)
    expect(await noise(gptq(), 'sequential')).toBeLessThan(plain)
  })

  it('is made again from its own configuration', () => {
    for (const plugin of [gptq(), gptq({ actOrder: 'static', negativeScales: true, percdamp: 0.05 })]) {
      const again: unknown = Reflect.apply(gptq, undefined, [plugin.config])
      expect(again).toHaveProperty('config', plugin.config)
    }
  })

  it('has its version from package.json', async () => {
    const manifest: { readonly version: string } = (await import('../package.json')).default
    expect(gptq().version).toBe(manifest.version)
  })
})
