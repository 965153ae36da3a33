import { describe, expect, it } from 'vitest'
import { difference, int4, quantize, referenceLinAlg, rtn, type Batch, type ModelHost, type TransformJob } from '@lowbit/core'
import { toyBatches, toyHost, toyNormal, toyRandom } from '@lowbit/core/testkit'
import { randomSigns, rotate } from '@lowbit/algos-rotate'

const rmsHost = (): ModelHost => toyHost({ finalNorm: 'rms-norm' })
const exclude = ['embed', 'unembed']

function noise(before: Batch, after: Batch): number {
  const [name] = Object.keys(before)
  return difference(Array.from(before[name].data, Number), Array.from(after[name].data, Number)).maxError
}

/** A site that reads a stream whose norm is loud in a few channels, as in language models. */
function jobOf(seed: number, loud: number): TransformJob {
  const random = toyRandom(seed)
  const [rows, columns] = [24, 48]
  const gain = Float32Array.from({ length: columns }, (_, i) => (i % 16 === 5 ? loud : 1))
  const site = (id: string, role: 'reads' | 'writes', n: number, k: number): TransformJob['sites'][number] => ({
    id,
    kind: 'linear',
    weight: { rows: n, columns: k, groups: 1, columnsPerChannel: 1 },
    tensor: { dtype: 'float32', shape: [n, k], data: Float32Array.from({ length: n * k }, () => toyNormal(random)) },
    scheme: int4(),
    stream: role === 'reads' ? { role, gain } : { role },
  })
  return { group: { id: 'residual:h', producer: 'norm', channels: columns }, sites: [site('q', 'reads', rows, columns), site('o', 'writes', columns, rows)], statistics: {}, linalg: referenceLinAlg, seed }
}

describe('rotation of a residual stream', () => {
  it('changes nothing in the model but its weights, and no operator is added', async () => {
    const host = rmsHost()
    const [batch] = toyBatches()
    const before = await host.run(batch)
    const { residual } = host.capabilities
    const [stream] = (await residual?.streams()) ?? []
    const { transforms } = await rotate({ scope: 'residual', accept: 'always' }).plan({ ...jobOf(1, 1), group: { id: stream.id, producer: 'norm', channels: stream.channels }, sites: [] })
    expect(transforms).toHaveLength(1)
    const weight = await host.readWeight('down')
    for (const t of transforms) expect(t.kind === 'rotate' && (await residual?.rotate(stream.id, t))).toEqual({ how: 'folded' })
    expect(await host.readWeight('down')).not.toEqual(weight)
    expect(noise(before, await host.run(batch))).toBeLessThan(1e-4)
  })

  it('runs in the pipeline, and the report says what it did', async () => {
    const { report } = await quantize(rmsHost(), { weights: int4({ group: 8 }), transforms: [rotate({ scope: 'residual', accept: 'always' })], calibration: toyBatches(), exclude })
    expect(report.transforms).toHaveLength(1)
    const [entry] = report.transforms
    expect(entry).toMatchObject({ group: 'residual:h', applied: ['rotate folded'] })
    expect(entry.notes).toMatchObject({ order: 16, sites: 7 })
    for (const name of ['kurtosisBefore', 'kurtosisAfter', 'errorRatio']) expect(Number(entry.notes?.[name])).toBeGreaterThan(0)
  })

  it('gives the host’s reason where a stream cannot be turned', async () => {
    const { report } = await quantize(toyHost(), { weights: int4({ group: 8 }), transforms: [rotate({ scope: 'residual', accept: 'always' })], calibration: toyBatches() })
    expect(report.transforms).toEqual([expect.objectContaining({ group: 'residual:h', applied: [], reason: expect.stringContaining('layer norm') })])
  })

  it('says so where there is no stream at all', async () => {
    const host: ModelHost = new Proxy(rmsHost(), { get: (target, name) => (name === 'capabilities' ? {} : bound(target, name)) })
    const { report } = await quantize(host, { weights: int4({ group: 8 }), transforms: [rotate({ scope: 'residual' })], calibration: toyBatches() })
    expect(report.transforms).toEqual([])
    expect(report.warnings.join()).toMatch(/finds no residual stream/)
  })

  it('is taken where gains are loud, left alone where nothing stands out', async () => {
    for (let seed = 1; seed <= 4; seed++) {
      const loud = await rotate({ scope: 'residual' }).plan(jobOf(seed, 12))
      expect(loud.transforms).toHaveLength(1)
      expect(Number(loud.notes?.['errorRatio'])).toBeLessThan(0.9)
    }
    const ratios = await Promise.all([1, 2, 3, 4, 5, 6].map(async (seed) => Number((await rotate({ scope: 'residual', accept: 'always' }).plan(jobOf(seed, 1))).notes?.['errorRatio'])))
    // Normal weights stay normal: the mean is 1 within what six draws allow.
    expect(Math.abs(ratios.reduce((a, b) => a + b, 0) / 6 - 1)).toBeLessThan(0.1)
    const [worse] = ratios.map((r, i) => [r, i + 1]).filter(([r]) => r > 1)
    const refused = await rotate({ scope: 'residual' }).plan(jobOf(worse[1], 1))
    expect(refused.transforms).toEqual([])
    expect(refused.skip).toMatch(/weight error by a factor of 1\./)
  })

  it('turns 12·2^k, 20·2^k and 28·2^k channels in one block', async () => {
    for (const channels of [24, 40, 56, 80, 96, 112]) {
      const { transforms } = await rotate({ scope: 'residual', accept: 'always' }).plan({ ...jobOf(1, 1), group: { id: 's', producer: 'norm', channels }, sites: [] })
      expect(transforms).toEqual([{ kind: 'rotate', signs: randomSigns(channels, 1), order: channels }])
    }
  })

  it('refuses a rounding that needs statistics, and a scope that does not exist', async () => {
    const needy = { ...rtn(), needs: () => ['gram' as const] }
    await expect(rotate({ scope: 'residual', rounding: needy }).plan(jobOf(1, 1))).rejects.toThrow(/LOWBIT_ARGUMENT/)
    expect(() => Reflect.apply(rotate, undefined, [{ scope: 'everything' }])).toThrow(/LOWBIT_ARGUMENT/)
  })

  it('is made again from its own configuration', () => {
    const plugin = rotate({ scope: 'residual', order: 8 })
    const again: unknown = Reflect.apply(rotate, undefined, [plugin.config])
    expect(again).toMatchObject({ scope: 'residual', config: plugin.config })
  })
})

function bound(target: ModelHost, name: string | symbol): unknown {
  const value: unknown = Reflect.get(target, name, target)
  return typeof value === 'function' ? value.bind(target) : value
}
