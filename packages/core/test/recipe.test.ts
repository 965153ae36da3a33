import { Ajv2020 } from 'ajv/dist/2020.js'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isLowbitError, parseRecipe, RECIPE_SCHEMA, resolveRecipe, rtn, VERSION, type PluginTable } from '@lowbit/core'

const recipe = {
  lowbit: 1,
  model: 'model.onnx',
  format: 'matmul-nbits',
  weights: { dtype: 'int4', group: 32 },
  rounding: { use: '@lowbit/core/rtn', config: { range: 'search' } },
  plugins: { '@lowbit/core/rtn': VERSION },
  overrides: [{ match: '*head*', weights: null }, { match: 'a', weights: { dtype: 'uint8', perTensor: true } }],
  exclude: ['embed'],
  seed: 3,
}
const table: PluginTable = { '@lowbit/core/rtn': (config) => rtn(config) }

function codeOf(work: () => unknown): string | undefined {
  try {
    work()
  } catch (error) {
    return isLowbitError(error) ? error.code : String(error)
  }
  return undefined
}

describe('recipe', () => {
  it('becomes options: unsigned types get zero points, null leaves a site in float', () => {
    const options = resolveRecipe(parseRecipe(JSON.stringify(recipe)), table)
    expect(options.weights).toEqual({ dtype: 'int4', granularity: { kind: 'group', axis: 1, size: 32 }, symmetric: true })
    expect(options.overrides?.[0]).toEqual({ match: '*head*', weights: null })
    expect(options.overrides?.[1].weights).toEqual({ dtype: 'uint8', granularity: { kind: 'tensor' }, symmetric: false })
    expect(options.rounding?.config).toMatchObject({ range: 'search' })
    expect(options).not.toHaveProperty('calibration')
  })

  it('refuses a version that is not the pinned one and says what to install', () => {
    const pinned = parseRecipe({ ...recipe, plugins: { '@lowbit/core/rtn': '9.9.9' } })
    expect(() => resolveRecipe(pinned, table)).toThrow(/LOWBIT_VERSION.*npm install @lowbit\/core\/rtn@9\.9\.9/)
  })

  it('refuses an algorithm that is not at hand', () => {
    expect(() => resolveRecipe(parseRecipe({ ...recipe, rounding: '@lowbit/algos-nothing' }), table)).toThrow(/LOWBIT_NOT_FOUND.*npm install @lowbit\/algos-nothing/)
  })

  it.each([
    ['weights.dtype', { ...recipe, weights: { dtype: 'int5' } }, /recipe\.weights\.dtype: "int5"; expected one of/],
    ['a misspelt key', { ...recipe, exclud: [] }, /recipe\.exclud: an unknown property/],
    ['a missing key', { lowbit: 1 }, /recipe\.weights: nothing/],
    ['group 0', { ...recipe, weights: { dtype: 'int4', group: 0 } }, /recipe\.weights\.group: 0; expected a whole number of at least 1/],
    ['a float version pin', { ...recipe, plugins: { a: '^1.0.0' } }, /recipe\.plugins\.a/],
    ['another format', { ...recipe, lowbit: 2 }, /recipe\.lowbit: 2; expected one of 1/],
    ['not JSON', '{', /not JSON/],
    ['__proto__', JSON.parse('{"lowbit":1,"weights":{"dtype":"int8"},"__proto__":{}}'), /unknown property/],
    ['bins that take gigabytes', { ...recipe, activations: { dtype: 'uint8', bins: 1e9 } }, /recipe\.activations\.bins: 1000000000; expected an even number of at least 16 and at most 65536/],
    ['more bins than there are numbers', { ...recipe, activations: { dtype: 'uint8', bins: 1e15 } }, /recipe\.activations\.bins/],
    ['settings nested deeply', `{"lowbit":1,"weights":{"dtype":"int4"},"settings":${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}}`, /recipe: nesting deeper than 64/],
    ['a configuration nested deeply', `{"lowbit":1,"weights":{"dtype":"int4"},"rounding":{"use":"x","config":{"x":${'['.repeat(100_000)}${']'.repeat(100_000)}}}}`, /recipe: nesting deeper than 64/],
    ['a deep value where a number belongs', { ...recipe, seed: JSON.parse(`${'['.repeat(50)}${']'.repeat(50)}`) as unknown }, /recipe\.seed: \[\[/],
    ['a misspelt key, naming the right one', { ...recipe, roundng: 'x' }, /recipe\.roundng: an unknown property.*did you mean rounding\?/],
    ['a group with one scale for all', { ...recipe, weights: { dtype: 'int4', group: 32, perTensor: true } }, /recipe\.weights\.group: group together with perTensor/],
    ['a percentile that no method reads', { ...recipe, activations: { dtype: 'uint8', method: 'minmax', percentile: 99 } }, /recipe\.activations\.percentile: does nothing with method minmax; expected method percentile/],
    ['Infinity for a number', { ...recipe, activations: { dtype: 'uint8', method: 'percentile', percentile: Infinity } }, /percentile: Infinity/],
  ])('refuses %s', (_, value, message) => {
    expect(() => parseRecipe(value)).toThrow(message)
    expect(codeOf(() => parseRecipe(value))).toBe('LOWBIT_RECIPE')
  })

  it('agrees with a full JSON Schema validator on mutated recipes', () => {
    const full = new Ajv2020({ strict: false }).compile(RECIPE_SCHEMA)
    const keys = Object.keys(recipe)
    const mutation = fc.tuple(fc.constantFrom(...keys, 'weights.dtype', 'weights.group', 'extra'), fc.oneof(fc.jsonValue(), fc.constantFrom('int8', 16, null, [], {}, 'one-pass')))
    fc.assert(
      fc.property(fc.array(mutation, { maxLength: 3 }), (mutations) => {
        const value: Record<string, unknown> = structuredClone(recipe)
        for (const [path, to] of mutations) {
          const [key, inner] = path.split('.')
          if (inner === undefined) value[key] = to
          else if (typeof value[key] === 'object' && value[key] !== null && !Array.isArray(value[key])) value[key] = { ...value[key], [inner]: to }
        }
        expect(codeOf(() => parseRecipe(value)) === undefined).toBe(full(value))
      }),
      { numRuns: 400 },
    )
  })
})
