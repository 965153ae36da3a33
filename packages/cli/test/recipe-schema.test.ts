import { readFileSync } from 'node:fs'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { describe, expect, it } from 'vitest'
import { isLowbitError, parseRecipe } from '@lowbit/core'
import { PUBLISHED } from '../../../tools/write-recipe-schema.js'
import { UNION } from '../src/recipes/union.js'

const written: unknown = JSON.parse(readFileSync(new URL('../../core/recipe.schema.json', import.meta.url), 'utf8'))

describe('the published schema of recipes', () => {
  it('is the one that the declarations give', () => expect(written).toEqual(JSON.parse(JSON.stringify(PUBLISHED))))

  const valid = new Ajv2020({ strict: false }).compile(PUBLISHED)
  const base = { lowbit: 1, format: 'matmul-nbits', weights: { dtype: 'int4' } }

  it.each([
    [{}, true],
    [{ settings: { accuracyLevel: 4 } }, true],
    [{ settings: { accuracylevel: 4 } }, false],
    [{ settings: { accuracyLevel: 5 } }, false],
    [{ calibration: { path: 'x.npz', limit: 3 } }, true],
    [{ calibration: { path: 'x.npz', image: { size: 224, mean: [0.5] } } }, true],
    [{ calibration: { path: 'x.npz', image: { sise: 224 } } }, false],
    [{ calibration: { limit: 3 } }, false],
    [{ activations: { dtype: 'uint8', bins: 17 } }, false],
    [{ activations: { dtype: 'uint8', bins: 1e9 } }, false],
    [{ seed: 1e300 }, false],
  ])('agrees with the parser on %j: %s', (more, ok) => {
    expect(valid({ ...base, ...more })).toBe(ok)
    const parse = (): unknown => parseRecipe({ ...base, ...more }, UNION)
    if (ok) expect(parse).not.toThrow()
    else {
      try {
        parse()
        expect.unreachable()
      } catch (error) {
        expect(isLowbitError(error, 'LOWBIT_RECIPE')).toBe(true)
      }
    }
  })
})
