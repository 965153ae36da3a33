import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkOptions, int4, int8, isLowbitError, quantize, resolveOptions, rtn, show, suggest, uint4, weightScheme, type Declarations, type QuantizeOptions } from '@lowbit/core'
import { toyHost } from '@lowbit/core/testkit'
import { toyBatches } from '../../src/testkit/toy-data.js'

const DECLARED = {
  rounds: { type: 'integer', minimum: 1, maximum: 100, default: 20, about: 'rounds at most' },
  start: { type: 'choice', values: ['exact', 'rounded'], default: 'exact', about: 'where to start' },
  step: { type: 'number', above: 0, when: { start: ['rounded'] }, about: 'first step' },
  keepBest: { type: 'boolean', excludes: ['keepLast'], about: 'keep the best round' },
  keepLast: { type: 'boolean', excludes: ['keepBest'], about: 'keep the last round' },
} as const satisfies Declarations

interface Given {
  readonly rounds?: number
  readonly start?: string
  readonly step?: number
  readonly keepBest?: boolean
  readonly keepLast?: boolean
}

const resolve = (given: unknown) => resolveOptions<Given, typeof DECLARED>(DECLARED, given as Given, 'thing')

/** What someone without types may write. */
const untyped = (options: unknown): Promise<unknown> => quantize(toyHost(), options as QuantizeOptions)

describe('resolveOptions', () => {
  it('fills defaults in and leaves the rest absent', () => {
    expect(resolve({ rounds: 3, step: undefined })).toEqual({ rounds: 3, start: 'exact' })
    expect(resolve(undefined)).toEqual({ rounds: 20, start: 'exact' })
  })

  it.each([
    [{ round: 3 }, /thing\(\{ round \}\): an unknown option; expected one of rounds.*did you mean rounds\?/],
    [{ rounds: '3' }, /thing\(\{ rounds \}\): "3"; expected a whole number of at least 1 and at most 100/],
    [{ rounds: 2.5 }, /rounds/],
    [{ rounds: Number.NaN }, /rounds \}\): NaN/],
    [{ rounds: null }, /rounds \}\): null/],
    [{ start: 'roundd' }, /"roundd"; expected one of exact, rounded; did you mean rounded\?/],
    [{ step: 0, start: 'rounded' }, /step \}\): 0; expected a number above 0/],
    [{ step: 1 }, /step \}\): does nothing with start exact; expected start rounded/],
    [{ keepBest: true, keepLast: true }, /keepBest together with keepLast/],
    [{ __proto__: null, constructor: 1 }, /constructor \}\): an unknown option/],
    [[], /thing: \[\]/],
    [5, /thing: 5/],
  ])('refuses %j', (given, message) => {
    expect(() => resolve(given)).toThrow(message)
    expect(() => resolve(given)).toThrow(/^LOWBIT_ARGUMENT/)
  })

  it('does not mind what is not to be done', () => {
    expect(resolve({ keepBest: false, keepLast: true })).toMatchObject({ keepLast: true })
  })

  it('fails with a LowbitError or takes it, whatever is given', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        try {
          checkOptions(DECLARED, value, { form: 'value', code: 'LOWBIT_ARGUMENT', place: (path) => path })
        } catch (error) {
          expect(isLowbitError(error, 'LOWBIT_ARGUMENT')).toBe(true)
        }
      }),
    )
  })
})

describe('show', () => {
  it('is short and takes what JSON does not', () => {
    const circular: unknown[] = []
    circular.push(circular, 1n, Symbol('s'), () => 0)
    fc.assert(fc.property(fc.oneof(fc.anything(), fc.constant(circular)), (value) => {
      expect(show(value).length).toBeLessThanOrEqual(60)
    }))
  })
})

describe('suggest', () => {
  it.each([
    ['roundng', 'rounding'],
    ['accuracylevel', 'accuracyLevel'],
    ['groupSize', 'group'],
    ['wieghts', 'weights'],
    ['zzz', undefined],
    ['', undefined],
  ])('%s → %s', (word, wanted) => expect(suggest(word, ['weights', 'rounding', 'group', 'accuracyLevel', 'seed'])).toBe(wanted))
})

describe('schemes', () => {
  it('refuse options that they do not have', () => {
    const grouped: object = { groupSize: 32 }
    expect(() => int4(grouped)).toThrow(/LOWBIT_ARGUMENT: int4\(\{ groupSize \}\): an unknown option.*did you mean group\?/)
    expect(() => uint4({ group: 32, perTensor: true })).toThrow(/group together with perTensor/)
    expect(() => weightScheme('nf4', { symmetric: false })).toThrow(/no zero points/)
    expect(int4({ group: 32, perTensor: false }).granularity).toEqual({ kind: 'group', axis: 1, size: 32 })
  })
})

describe('quantize', () => {
  it.each([
    ['the name of a type', { weights: 'int4' }, /quantize\(\{ weights \}\): "int4"; expected a scheme.*write int4\(\)/],
    ['a function that was not called', { weights: int4 }, /the function int4.*call it: int4\(\)/],
    ['no weights', {}, /quantize\(\{ weights \}\): nothing/],
    ['a misspelt option', { weights: int4(), roundng: rtn() }, /roundng \}\): an unknown option.*did you mean rounding\?/],
    ['a plugin that was not made', { weights: int4(), rounding: rtn }, /quantize\(\{ rounding \}\): the function rtn.*call it: rtn\(\)/],
    ['a plugin by name', { weights: int4(), rounding: '@lowbit/algos-gptq' }, /import the package/],
    ['one transform for a list', { weights: int4(), transforms: rtn() }, /transforms \}\).*a list/],
    ['a type of activations that is none', { weights: int8(), activations: { dtype: 'int7' }, calibration: [] }, /activations\.dtype \}\): "int7"; expected one of/],
    ['activations as text', { weights: int8(), activations: 'uint8' }, /activations \}\): "uint8"/],
    ['a percentile under minmax', { weights: int8(), activations: { dtype: 'uint8', method: 'minmax', percentile: 99.9 }, calibration: [] }, /activations\.percentile \}\): does nothing with method minmax/],
    ['a percentile under the default', { weights: int8(), activations: { dtype: 'uint8', percentile: 99.9 }, calibration: [] }, /does nothing with method mse/],
    ['sequential without data', { weights: int4(), mode: 'sequential' }, /mode \}\): does nothing without calibration/],
    ['one pattern for a list', { weights: int4(), exclude: '*head*' }, /exclude \}\).*a list/],
    ['a negative seed', { weights: int4(), seed: -1 }, /seed/],
    ['memory as text', { weights: int4(), maxMemory: '512' }, /maxMemory \}\): "512"/],
    ['an override without a pattern', { weights: int4(), overrides: [{ weights: null }] }, /overrides\[0\]\.match \}\): nothing/],
    ['an override with a typo', { weights: int4(), overrides: [{ match: 'head', weight: null }] }, /overrides\[0\]\.weight \}\).*did you mean weights\?/],
    ['settings that are none', { weights: int4(), settings: [] }, /settings/],
    ['circular settings', { weights: int4(), settings: circular() }, /nesting deeper than 64/],
  ])('refuses %s before any work', async (_, options, message) => {
    await expect(untyped(options)).rejects.toThrow(message)
    await expect(untyped(options)).rejects.toMatchObject({ code: 'LOWBIT_ARGUMENT' })
  })

  it('holds settings and activations to what the host declares', async () => {
    const host = toyHost()
    const declared = Object.create(host, {
      supports: { value: { ...host.supports, formats: ['toy-json', 'other'], staticFormats: [], settings: { accuracyLevel: { type: 'choice', values: [0, 4], when: { format: ['other'] }, about: 'level' }, storage: { type: 'text', about: 'where' } } } },
    }) as typeof host
    const fails = async (options: Partial<QuantizeOptions>, message: RegExp): Promise<void> => expect(quantize(declared, { weights: int4(), ...options })).rejects.toThrow(message)
    await fails({ settings: { accuracylevel: 4 } }, /LOWBIT_ARGUMENT: setting accuracylevel: an unknown property.*did you mean accuracyLevel\?/)
    await fails({ settings: { accuracyLevel: 4 } }, /setting accuracyLevel: does nothing with format toy-json; expected format other/)
    await fails({ settings: { storage: 4 } }, /setting storage: 4; expected text/)
    await fails({ activations: { dtype: 'uint8' }, calibration: toyBatches() }, /activations \}\): does nothing with format toy-json/)
  })

  it('fails where nothing was quantized, and says what was left alone', async () => {
    const sites = toyHost().sites().map((s) => s.id)
    const nothing = { weights: int4(), exclude: sites }
    await expect(quantize(toyHost(), nothing)).rejects.toThrow(/LOWBIT_NOTHING: quantize: nothing was quantized: '.*' and \d+ more: excluded.*allowNothing/)
    const { report } = await quantize(toyHost(), { ...nothing, allowNothing: true })
    expect(report.sites.every((s) => s.status === 'float')).toBe(true)
    const picky = toyHost({ accepts: () => ({ ok: false, reason: 'too small for a toy' }) })
    await expect(quantize(picky, { weights: int4() })).rejects.toThrow(/too small for a toy/)
    // Activations alone are something.
    const alone = await quantize(toyHost(), { ...nothing, activations: { dtype: 'uint8' }, calibration: toyBatches() })
    expect(alone.report.activations.some((a) => a.status === 'quantized')).toBe(true)
  })
})

function circular(): object {
  const value: Record<string, unknown> = {}
  value['self'] = value
  return value
}
