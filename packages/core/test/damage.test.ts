import { describe, expect, it } from 'vitest'
import { int4, int8, quantize, rtn, weightScheme, type ModelHost, type QuantizeOptions } from '@lowbit/core'
import { toyBatches, toyHost } from '@lowbit/core/testkit'
import { measureDamage } from '../src/pipeline/damage.js'

const data = toyBatches({ batches: 3, rows: 8 })

async function reportOf(options: Partial<QuantizeOptions>, host: ModelHost = toyHost()) {
  return (await quantize(host, { weights: int8(), ...options })).report
}

describe('the damage of a run', () => {
  it('is measured on calibration data, and falls with the bits', async () => {
    const of = async (weights: QuantizeOptions['weights']) => (await reportOf({ weights, rounding: { ...rtn(), needs: () => ['gram'] }, calibration: data })).damage
    const [eight, four, two] = [await of(int8()), await of(int4({ group: 8 })), await of(weightScheme('int2'))]
    expect(eight).toMatchObject({ batches: 3 })
    expect(eight?.sqnr).toBeGreaterThan((four?.sqnr ?? Infinity) + 10)
    expect(four?.sqnr).toBeGreaterThan((two?.sqnr ?? Infinity) + 5)
  })

  it('is warned of with the sites that lost most, and not where it is small', async () => {
    const calibrated = { rounding: { ...rtn(), needs: () => ['gram'] as const }, calibration: data }
    expect((await reportOf({ weights: weightScheme('int2'), ...calibrated })).warnings).toContainEqual(expect.stringMatching(/^output signal over noise on the calibration data is -?\d+\.\d dB; most is lost at '\w+'/))
    expect((await reportOf({ weights: int8(), ...calibrated })).warnings.join()).not.toContain('signal over noise')
  })

  it('is estimated without data, and said not to be trusted where it may be large', async () => {
    const two = await reportOf({ weights: weightScheme('int2') })
    expect(two.damage).toMatchObject({ batches: 0 })
    expect(two.warnings.join()).toContain('only estimated')
    const eight = await reportOf({})
    expect(eight.damage?.sqnr).toBeGreaterThan(25)
    expect(eight.warnings.join()).not.toContain('only estimated')
  })

  it('leaves out values that were not finite in the original, and counts those that became so', async () => {
    const one = (values: readonly number[]) => ({ y: { dtype: 'float32' as const, shape: [values.length], data: Float32Array.from(values) } })
    const host = (after: readonly number[]): ModelHost => ({ ...toyHost(), run: async (_batch, options) => (options?.model === 'original' ? one([3, -Infinity, NaN, 4]) : one(after)) })
    expect((await measureDamage(host([3, -Infinity, NaN, 4.5]), data, undefined)).sqnr).toBeCloseTo(20, 5)
    expect((await measureDamage(host([3, 0, 0, NaN]), data, undefined)).sqnr).toBe(-Infinity)
  })
})

describe('a weight with a value that is not finite', () => {
  const broken = async (value: number): Promise<ModelHost> => {
    const host = toyHost()
    const read = host.readWeight.bind(host)
    const bad = await read('gate')
    bad.data[5] = value
    const { LowbitError } = await import('@lowbit/core')
    host.readWeight = async (id) => {
      if (id === 'gate') throw new LowbitError('LOWBIT_NONFINITE', { thing: `weight of site '${id}'`, found: `${value} in row 0, column 5` })
      return read(id)
    }
    return host
  }

  it.each([
    ['NaN', NaN, {}],
    ['−Infinity, calibrated', -Infinity, { rounding: { ...rtn(), needs: () => ['gram'] as const }, calibration: data }],
  ] as const)('stays in float with a warning, and the rest is quantized: %s', async (_, value, options) => {
    const report = await reportOf(options, await broken(value))
    expect(report.sites.find((s) => s.id === 'gate')).toMatchObject({ status: 'float', reason: expect.stringContaining(`its weight holds ${value}`) })
    expect(report.sites.filter((s) => s.status === 'quantized').length).toBe(report.sites.length - 1)
    expect(report.warnings).toContainEqual(expect.stringContaining("site 'gate' stays in float"))
  })
})
