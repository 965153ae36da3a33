import { LowbitError } from '../errors.js'
import { checkOptions } from '../options/check-options.js'
import { requireShallow } from '../options/depth.js'
import type { RecipeScheme } from '../options/scheme-options.js'
import type { Scheme } from '../scheme.js'
import { weightScheme } from '../weight-scheme.js'
import type { Recipe } from './recipe.js'
import { recipeOptions, type RecipeUnion } from './recipe-options.js'

/**
 * Reads a recipe from JSON text or an already parsed value.
 * @param union - what the packages at hand declare: settings, configurations and data are checked by it
 * @throws LOWBIT_RECIPE naming the path and what is expected there.
 */
export function parseRecipe(source: unknown, union: RecipeUnion = {}): Recipe {
  const value: unknown = typeof source === 'string' ? parseJson(source) : source
  requireShallow(value, 'recipe', 'LOWBIT_RECIPE')
  checkOptions(recipeOptions(union), value, { form: 'json', code: 'LOWBIT_RECIPE', place: (path) => (path === '' ? 'recipe' : `recipe.${path}`), ...(union.configs === undefined ? {} : { configs: union.configs }) })
  return value as Recipe
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new LowbitError('LOWBIT_RECIPE', { thing: 'recipe', found: `text that is not JSON (${cause instanceof Error ? cause.message : String(cause)})`, cause })
  }
}

/** The scheme a recipe's short form stands for: unsigned types have zero points unless it says otherwise. */
export function recipeScheme(short: RecipeScheme): Scheme {
  const { dtype, zeroPoint, ...options } = short
  const scheme = weightScheme(dtype, { symmetric: !dtype.startsWith('uint'), ...options })
  return zeroPoint === undefined ? scheme : { ...scheme, zeroPoint }
}
