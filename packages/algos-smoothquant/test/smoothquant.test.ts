import { describe, expect, it } from 'vitest'
import { int4, int8, quantize, referenceLinAlg, tensor, type TransformJob } from '@lowbit/core'
import { toyBatches, toyHost, toyJob, transformSuite } from '@lowbit/core/testkit'
import { int8Error, smoothQuant } from '@lowbit/algos-smoothquant'

const runner = { describe, it }
transformSuite({ runner, factory: () => smoothQuant(), schemes: [int8(), int4({ group: 8 })] })
describe('searched α', () => transformSuite({ runner, factory: () => smoothQuant({ alpha: 'search' }), schemes: [int8()] }))

function jobOf(seed: number): TransformJob {
  const { job, x } = toyJob({ scheme: int8(), seed, columns: 64 })
  return { group: { id: 'toy', producer: 'norm', channels: 64 }, sites: [{ ...job.site, tensor: job.weight, scheme: int8() }], statistics: { ...job.statistics, samples: x }, linalg: referenceLinAlg, seed: 0 }
}

describe('SmoothQuant', () => {
  it('makes int8 better where channels are loud, and a searched α is never worse than a fixed one or none', async () => {
    for (let seed = 1; seed <= 4; seed++) {
      const job = jobOf(seed)
      const x = job.statistics.samples
      if (x === undefined) throw new Error('no samples')
      const error = async (alpha: number | 'search'): Promise<number> => {
        const [transform] = (await smoothQuant({ alpha }).plan(job)).transforms
        if (transform?.kind !== 'scale') throw new Error('no scale')
        return int8Error(x, job.sites, transform.scales, 'token')
      }
      const none = int8Error(x, job.sites, new Float32Array(64).fill(1), 'token')
      expect(await error(0.5)).toBeLessThan(none)
      expect(await error('search')).toBeLessThanOrEqual(await error(0.5))
    }
  })

  it('folds into norms and linears, and says why it had to insert a multiplication elsewhere', async () => {
    const { report } = await quantize(toyHost(), { weights: int8(), transforms: [smoothQuant()], calibration: toyBatches() })
    const how = Object.fromEntries(report.transforms.map((t) => [t.group, t]))
    expect(how['n1'].applied).toEqual(['scale folded'])
    expect(how['m'].applied).toEqual(['scale folded'])
    expect(how['pooled'].applied).toEqual(['scale inserted'])
    expect(how['pooled'].reason).toBe('it comes out of a pool')
    expect(how['n1'].notes).toEqual({ alpha: 0.5 })
  })

  it('leaves a silent input alone', async () => {
    const job = jobOf(1)
    const silent = { ...job, statistics: { 'absmax-per-channel': tensor('float32', [64], new Float32Array(64)) } }
    expect(await smoothQuant().plan(silent)).toEqual({ transforms: [], skip: 'its input is always 0' })
  })

  it('names the channel of a NaN', async () => {
    const job = jobOf(1)
    const bad = new Float32Array(64).fill(1)
    bad[7] = Number.NaN
    await expect(smoothQuant().plan({ ...job, statistics: { 'absmax-per-channel': tensor('float32', [64], bad) } })).rejects.toThrow(/LOWBIT_NONFINITE.*channel 7/)
  })

  it('refuses an α outside [0, 1]', () => {
    expect(() => smoothQuant({ alpha: 1.5 })).toThrow(/LOWBIT_ARGUMENT/)
    expect(() => smoothQuant({ alpha: Number.NaN })).toThrow(/LOWBIT_ARGUMENT/)
  })

  it('is made again from its own configuration', () => {
    for (const plugin of [smoothQuant(), smoothQuant({ alpha: 'search' })]) {
      const again: unknown = Reflect.apply(smoothQuant, undefined, [plugin.config])
      expect(again).toHaveProperty('config', plugin.config)
    }
  })

  it('has its version from package.json', async () => {
    const manifest: { readonly version: string } = (await import('../package.json')).default
    expect(smoothQuant().version).toBe(manifest.version)
  })
})
