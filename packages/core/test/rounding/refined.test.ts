import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { dequantize, fastLinAlg, int2, int3, int4, outputError, refined, rtn, uint4, weightScheme, type GramStatistic, type QTensor, type RoundingJob, type Scheme } from '@lowbit/core'
import { roundingSuite, toyJob } from '@lowbit/core/testkit'

const group = 16
const schemes: readonly Scheme[] = [int3({ group }), int4(), uint4({ group }), { ...uint4({ group }), zeroPoint: 'float' }, weightScheme('nf4', { group }), weightScheme('ternary'), weightScheme('binary', { group }), int4({ perTensor: true })]

roundingSuite({ runner: { describe, it }, factory: () => refined(rtn({ range: 'search-gram' })), schemes, better: 'output' })

function gramOf(job: RoundingJob): GramStatistic {
  const { gram } = job.statistics
  if (gram === undefined) throw new Error('a job without Gram matrix')
  return gram
}

/** The error that is lowered, by its definition: `Σ (w − q) (G + λ) (w − q)ᵀ`. */
function errorOf(q: QTensor, job: RoundingJob, percdamp: number): number {
  const gram = gramOf(job)
  const { columns: k } = job.site.weight
  const values = dequantize(q).data
  let mean = 0
  for (let i = 0; i < k; i++) mean += gram.data[i * k + i] / k
  let damping = 0
  values.forEach((v, i) => (damping += (v - job.weight.data[i]) ** 2))
  return outputError(job.weight.data, values, job.site.weight.rows, gram, fastLinAlg) + percdamp * mean * damping
}

describe('refined', () => {
  it('never raises the error, whatever made the codes', () =>
    fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 24 }), fc.constantFrom('int2', 'uint3', 'int4', 'uint4', 'nf4', 'ternary', 'int8'), fc.boolean(), fc.integer({ min: 1, max: 50 }), async (columns, size, dtype, grouped, seed) => {
        const symmetric = !dtype.startsWith('u')
        const scheme = weightScheme(dtype, { symmetric, ...(grouped ? { group: size } : {}) })
        const { job } = toyJob({ scheme, rows: 5, columns, seed, samples: 60, linalg: fastLinAlg })
        const before = await rtn().round(job)
        const after = await refined(rtn(), { percdamp: 0.01 }).round(job)
        expect(errorOf(after.q, job, 0.01)).toBeLessThanOrEqual(errorOf(before.q, job, 0.01) * (1 + 1e-5))
      }),
      { numRuns: 60 },
    ))

  it('ends where no single code is better, and where each scale is the best for its codes', async () => {
    const { job } = toyJob({ scheme: int4({ group: 8 }), rows: 4, columns: 32, samples: 400 })
    const { q } = await refined(rtn(), { sweeps: 1000, percdamp: 0 }).round(job)
    const best = errorOf(q, job, 0)
    for (let i = 0; i < q.codes.length; i++) {
      for (const step of [-1, 1]) {
        const codes = q.codes.slice()
        codes[i] += step
        // A row ends once a sweep gains less than a thousandth of its error.
        if (codes[i] >= -8 && codes[i] <= 7) expect(errorOf({ ...q, codes }, job, 0)).toBeGreaterThan(best * (1 - 1e-3))
      }
    }
    for (let g = 0; g < q.params.scales.length; g++) {
      for (const factor of [0.99, 1.01]) {
        const scales = q.params.scales.slice()
        scales[g] *= factor
        expect(errorOf({ ...q, params: { ...q.params, scales } }, job, 0)).toBeGreaterThan(best * (1 - 1e-6))
      }
    }
  })

  it('finds the scales that a plain solver of the normal equations finds', async () => {
    const { job } = toyJob({ scheme: int3({ group: 8 }), rows: 3, columns: 24, samples: 300 })
    const { q } = await refined(rtn(), { sweeps: 1, percdamp: 0 }).round(job)
    const gram = gramOf(job)
    for (let row = 0; row < 3; row++) {
      const level = (k: number, g: number): number => (Math.floor(k / 8) === g ? q.codes[row * 24 + k] : 0)
      const product = (a: (k: number) => number, b: (k: number) => number): number => {
        let sum = 0
        for (let i = 0; i < 24; i++) for (let j = 0; j < 24; j++) sum += a(i) * gram.data[i * 24 + j] * b(j)
        return sum
      }
      const system = [0, 1, 2].map((g) => [...[0, 1, 2].map((h) => product((k) => level(k, g), (k) => level(k, h))), product((k) => level(k, g), (k) => job.weight.data[row * 24 + k])])
      const solved = gauss(system)
      solved.forEach((s, g) => expect(q.params.scales[row * 3 + g]).toBeCloseTo(s, 5))
    }
  })

  it('keeps zero points whole and in range, unless they may be any number', async () => {
    const whole = (await refined(rtn()).round(toyJob({ scheme: uint4({ group }) }).job)).q.params.zeroPoints
    expect(whole).toBeInstanceOf(Int32Array)
    expect(whole?.every((z) => z >= 0 && z <= 15)).toBe(true)
    const float = (await refined(rtn()).round(toyJob({ scheme: { ...uint4({ group }), zeroPoint: 'float' } }).job)).q.params.zeroPoints
    expect(float?.some((z) => !Number.isInteger(z))).toBe(true)
  })

  it.each([
    ['int2', int2({ group }), 0.5],
    ['nf4', weightScheme('nf4', { group }), 0.6],
    ['float8e4m3fn', weightScheme('float8e4m3fn'), 0.8],
    ['ternary', weightScheme('ternary', { group }), 0.6],
  ] as const)('has far less output error than rounding on a table or a grid: %s', async (_, scheme, share) => {
    let logs = 0
    for (let seed = 1; seed <= 3; seed++) {
      const { job } = toyJob({ scheme, seed, rows: 16, columns: 64, linalg: fastLinAlg })
      logs += Math.log(errorOf((await refined(rtn()).round(job)).q, job, 0) / errorOf((await rtn().round(job)).q, job, 0))
    }
    expect(Math.exp(logs / 3)).toBeLessThan(share)
  })

  it('leaves what it is given alone where no data came by, and survives inputs of zeros', async () => {
    const blind = toyJob({ scheme: int4(), statistics: [] }).job
    expect((await refined(rtn()).round(blind)).q).toEqual((await rtn().round(blind)).q)
    const { job } = toyJob({ scheme: int4({ group }) })
    const gram = gramOf(job)
    const dark = { ...job, statistics: { gram: { ...gram, data: gram.data.map(() => 0) } } }
    expect((await refined(rtn()).round(dark)).q).toEqual((await rtn().round(dark)).q)
    // One input that was never anything but 0, without damping.
    const data = gram.data.map((v, i) => (i % gram.size === 3 || Math.floor(i / gram.size) === 3 ? 0 : v))
    const { q } = await refined(rtn(), { percdamp: 0 }).round({ ...job, statistics: { gram: { ...gram, data } } })
    expect(dequantize(q).data.every((v) => Number.isFinite(v))).toBe(true)
  })

  it.each([{ sweeps: 0 }, { sweeps: 1.5 }, { percdamp: -1 }])('refuses %o', (options) => {
    expect(() => refined(rtn(), options)).toThrow(/LOWBIT_ARGUMENT/)
  })
})

/** Gauss's elimination with pivoting of `[A | b]`. */
function gauss(system: number[][]): number[] {
  const n = system.length
  for (let c = 0; c < n; c++) {
    const pivot = system.slice(c).reduce((at, row, i) => (Math.abs(row[c]) > Math.abs(system[at][c]) ? c + i : at), c)
    ;[system[c], system[pivot]] = [system[pivot], system[c]]
    for (let r = 0; r < n; r++) {
      if (r === c) continue
      const factor = system[r][c] / system[c][c]
      for (let i = c; i <= n; i++) system[r][i] -= factor * system[c][i]
    }
  }
  return system.map((row, i) => row[n] / row[i])
}
