import { describe, expect, it } from 'vitest'
import * as fc from 'fast-check'
import { hadamardOrder, int3, int4, int8, largestHadamardBlock, quantize, referenceLinAlg, rotateRows, type TransformJob } from '@lowbit/core'
import { toyBatches, toyHost, toyJob, toyNormal, toyRandom, transformSuite } from '@lowbit/core/testkit'
import { randomSigns, rotate, rotateGram, spreadOf } from '@lowbit/algos-rotate'

const runner = { describe, it }
transformSuite({ runner, factory: () => rotate(), schemes: [int4({ group: 8 }), int8()] })
describe('always', () => transformSuite({ runner, factory: () => rotate({ accept: 'always' }), schemes: [int4({ group: 8 })] }))

/** `spike`: one weight column in eight is ten times as large, as in networks with outlier channels. */
function jobOf(spike: boolean, seed: number): TransformJob {
  const { job } = toyJob({ scheme: int4(), seed, rows: 16, columns: 48 })
  if (spike) job.weight.data.forEach((w, i) => (job.weight.data[i] = i % 8 === 2 ? w * 10 : w))
  const { gram } = job.statistics
  if (gram === undefined) throw new Error('no Gram matrix')
  return { group: { id: 'toy', producer: 'none', channels: 48 }, sites: [{ ...job.site, tensor: job.weight, scheme: int4() }], statistics: { gram }, linalg: referenceLinAlg, seed }
}

describe('rotation', () => {
  it('lowers kurtosis and output error where there are outliers, and says by how much', async () => {
    for (let seed = 1; seed <= 4; seed++) {
      const { transforms, notes } = await rotate().plan(jobOf(true, seed))
      expect(transforms).toHaveLength(1)
      expect(notes?.['order']).toBe(48)
      expect(Number(notes?.['kurtosisAfter'])).toBeLessThan(Number(notes?.['kurtosisBefore']) / 2)
      expect(Number(notes?.['errorAfter'])).toBeLessThan(Number(notes?.['errorBefore']))
    }
  })

  it('stays away where the gain is less than asked for, unless told otherwise', async () => {
    const job = jobOf(true, 1)
    const { notes } = await rotate().plan(job)
    const gain = 1 - Number(notes?.['errorAfter']) / Number(notes?.['errorBefore'])
    expect((await rotate({ minimumGain: gain * 0.99 }).plan(job)).transforms).toHaveLength(1)
    const refused = await rotate({ minimumGain: Math.min(0.999, gain * 1.01) }).plan(job)
    expect(refused.transforms).toEqual([])
    expect(refused.skip).toMatch(/factor of/)
    expect((await rotate({ accept: 'always' }).plan(job)).transforms).toHaveLength(1)
  })

  it('draws other signs for another seed, and both kinds', async () => {
    const job = jobOf(true, 1)
    const signs = async (seed: number): Promise<Int8Array> => {
      const [t] = (await rotate({ accept: 'always' }).plan({ ...job, seed })).transforms
      if (t?.kind !== 'rotate') throw new Error('no rotation')
      return t.signs
    }
    expect(await signs(1)).not.toEqual(await signs(2))
    for (let seed = 0; seed < 20; seed++) expect(Math.abs(randomSigns(256, seed).reduce((a, b) => a + b, 0))).toBeLessThan(80)
  })

  it('turns the Gram matrix as it turns the rows', () => {
    const random = toyRandom(5)
    const x = Float64Array.from({ length: 30 * 24 }, () => toyNormal(random))
    const gramOf = (rows: Float64Array): Float64Array => referenceLinAlg.matmul(rows.map((_, i) => rows[(i % 30) * 24 + Math.floor(i / 30)]), rows, 24, 30, 24)
    const signs = randomSigns(24, 3)
    const turned = x.slice()
    rotateRows(turned, signs, 12)
    const want = gramOf(turned)
    rotateGram({ data: gramOf(x), groups: 1, size: 24, rows: 30 }, signs, 12).data.forEach((v, i) => expect(v).toBeCloseTo(want[i], 9))
  })

  it('keeps every product, whatever the order', () =>
    fc.assert(
      fc.property(fc.constantFrom(1, 2, 4, 12, 16, 20, 24, 28, 40, 56), fc.integer({ min: 1, max: 3 }), fc.integer({ min: 0, max: 999 }), (order, blocks, seed) => {
        const n = order * blocks
        const random = toyRandom(seed)
        const x = Float64Array.from({ length: n }, () => toyNormal(random))
        const w = Float64Array.from({ length: n }, () => toyNormal(random))
        const dot = x.reduce((sum, v, i) => sum + v * w[i], 0)
        const signs = randomSigns(n, seed)
        rotateRows(x, signs, order)
        rotateRows(w, signs, order)
        expect(x.reduce((sum, v, i) => sum + v * w[i], 0)).toBeCloseTo(dot, 8)
      }),
    ))

  it('finds the largest order that divides the channels', () => {
    expect(largestHadamardBlock(64)).toBe(64)
    expect(largestHadamardBlock(48)).toBe(48)
    expect(largestHadamardBlock(172)).toBe(4)
    expect(largestHadamardBlock(704)).toBe(64)
    expect(largestHadamardBlock(7)).toBe(1)
    expect(hadamardOrder(36)).toBeUndefined()
    expect(hadamardOrder(2.5)).toBeUndefined()
  })

  it('says why it leaves a group alone', async () => {
    const job = jobOf(true, 1)
    expect((await rotate({ order: 32 }).plan(job)).skip).toBe('order 32 does not divide 48 channels')
    expect((await rotate().plan({ ...job, group: { ...job.group, channels: 7 } })).skip).toMatch(/7 channels have no Hadamard order/)
    expect((await rotate().plan({ ...job, sites: job.sites.map((s) => ({ ...s, kind: 'conv' as const })) })).skip).toBe('only inputs of linear layers are rotated')
  })

  it('is folded where the producer can be turned, and inserted elsewhere', async () => {
    const { report } = await quantize(toyHost(), { weights: int3({ group: 8 }), transforms: [rotate({ accept: 'always' })], calibration: toyBatches() })
    const how = Object.fromEntries(report.transforms.map((t) => [t.group, t]))
    expect(how['v.out'].applied).toEqual(['rotate folded'])
    expect(how['n1'].applied).toEqual(['rotate inserted'])
    expect(how['image'].reason).toBe('only inputs of linear layers are rotated')
  })

  it.each([{ order: 36 }, { minimumGain: 1 }] as const)('refuses %o', (options) => {
    expect(() => rotate(options)).toThrow(/LOWBIT_ARGUMENT/)
  })

  it('measures spread: 3 for normal values, 0 for none', () => {
    const random = toyRandom(1)
    expect(spreadOf(Float64Array.from({ length: 20000 }, () => toyNormal(random))).kurtosis).toBeCloseTo(2.9, 1)
    expect(spreadOf(new Float64Array(4))).toEqual({ kurtosis: 0, peak: 0 })
  })

  it('is made again from its own configuration', () => {
    for (const plugin of [rotate(), rotate({ order: 4, minimumGain: 0.1 })]) {
      const again: unknown = Reflect.apply(rotate, undefined, [plugin.config])
      expect(again).toHaveProperty('config', plugin.config)
    }
  })

  it('has its version from package.json', async () => {
    const manifest: { readonly version: string } = (await import('../package.json')).default
    expect(rotate().version).toBe(manifest.version)
  })
})
