import { parseRecipe, type Recipe } from '@lowbit/core'
import { commandLine, recipeOfValues, UNION, valuesOfRecipe, type QuantizeValues } from 'lowbit/recipes'
import { Command } from 'commander'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { addFlags, readFlags } from '../src/flags/flag.js'
import { QUANTIZE_FLAGS } from '../src/recipes/quantize-flags.js'

/** What the command reads from a line, as a shell would cut it. */
function read(line: string): { readonly model: string; readonly values: QuantizeValues } {
  const words = [...line.matchAll(/((?:'[^']*'|\\'|[^'\s])+)/g)].map(([word]) => word.replaceAll("'\\''", '\0').replaceAll("'", '').replaceAll('\0', "'"))
  expect(words.slice(0, 2)).toEqual(['lowbit', 'quantize'])
  let found: { readonly model: string; readonly values: QuantizeValues } | undefined
  const command = addFlags(new Command('quantize').argument('<model>'), QUANTIZE_FLAGS).action((model: string) => {
    found = { model, values: readFlags<QuantizeValues>(command, QUANTIZE_FLAGS) }
  })
  command.parse(words.slice(2), { from: 'user' })
  if (found === undefined) throw new Error('not read')
  return found
}

const optional = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arbitrary, { nil: undefined })

const values: fc.Arbitrary<QuantizeValues> = fc
  .record({
    weights: fc.constantFrom('int8' as const, 'uint8' as const, 'int4' as const, 'uint4' as const, 'int2' as const).map((t) => [t]),
    group: optional(fc.constantFrom(16, 32, 128)),
    symmetric: optional(fc.constant(true)),
    format: optional(fc.constantFrom('matmul-nbits', 'dequantize', 'dynamic')),
    algorithm: optional(fc.constantFrom('rtn', 'search', 'hqq', 'gptq', 'best')),
    transform: optional(fc.constantFrom(['smoothquant'], ['awq', 'rotate'])),
    calibration: optional(fc.constantFrom('data.npz', "it's here/", 'photos')),
    limit: optional(fc.constant(20)),
    imageMean: optional(fc.constant([0.5, 0.25, 0])),
    exclude: optional(fc.array(fc.constantFrom('*head*', "a'b", 'x y', '/re$/'), { minLength: 1 })),
    override: optional(fc.constantFrom(['*head*=int8'], ['a=uint4:16', 'b=float'])),
    seed: optional(fc.nat(9)),
    maxMemory: optional(fc.constant(64)),
  })
  .map(({ limit, imageMean, calibration, ...rest }) => Object.fromEntries(Object.entries({ ...rest, calibration, ...(calibration === undefined ? {} : { limit, imageMean }) }).filter(([, v]) => v !== undefined)) as QuantizeValues)

describe('the command line of a recipe', () => {
  it('makes the same recipe when the command reads it', () => {
    fc.assert(
      fc.property(values, (given) => {
        const recipe = { ...recipeOfValues(given, () => ({ model: "my model's.onnx", output: 'small.onnx' })) }
        const { model, values: back } = read(commandLine(recipe))
        expect(model).toBe(recipe.model)
        expect(recipeOfValues(back, () => ({ model, output: 'small.onnx' }))).toEqual(recipe)
      }),
      { numRuns: 200 },
    )
  })

  it('of static activations holds what was chosen about them', () => {
    const recipe = recipeOfValues({ calibration: 'photos', method: 'percentile', percentile: 99.9, rescue: false, operators: ['Conv', 'Add'] }, () => ({ model: 'm.onnx' }))
    expect(commandLine(recipe)).toBe('lowbit quantize m.onnx -w int8 --format qdq --activations uint8 --method percentile --no-rescue --operators Conv,Add --percentile 99.9 -c photos'.replace('--format', '-f'))
    expect(recipeOfValues(read(commandLine(recipe)).values, () => ({ model: 'm.onnx' }))).toEqual(recipe)
  })

  it.each<[string, Partial<Recipe>]>([
    ['a configuration of an algorithm', { rounding: { use: '@lowbit/algos-gptq', config: { dampening: 0.02 } } }],
    ['bins of a histogram', { format: 'qdq', activations: { dtype: 'uint8', bins: 2048 }, calibration: { path: 'x' } }],
    ['an override with more than a type', { overrides: [{ match: 'a', weights: { dtype: 'int4', symmetric: false } }] }],
    ['a pattern that ends as an override would', { overrides: [{ match: '', weights: { dtype: 'int4' } }] }],
  ])('is `lowbit run` for %s', (_, more) => {
    const recipe: Recipe = { lowbit: 1, model: 'm.onnx', format: 'dynamic', weights: { dtype: 'int8' }, ...more }
    expect(valuesOfRecipe(recipe)).toBeUndefined()
    expect(commandLine(recipe, 'my recipe.json')).toBe("lowbit run 'my recipe.json'")
  })

  it('of a recipe file is what parseRecipe lets through', () => {
    const recipe = parseRecipe({ lowbit: 1, model: 'm.onnx', format: 'matmul-nbits', weights: { dtype: 'int4', group: 32 } }, UNION)
    expect(commandLine(recipe)).toBe('lowbit quantize m.onnx -w int4 -f matmul-nbits -g 32 -a rtn')
  })
})
