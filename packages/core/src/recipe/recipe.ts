import type { Json } from '../contract/v2/plugin.js'
import { LowbitError } from '../errors.js'
import { checkOptions } from '../options/check-options.js'
import { requireShallow } from '../options/depth.js'
import type { RecipeScheme } from '../options/scheme-options.js'
import type { StaticActivations } from '../pipeline/options.js'
import type { Scheme } from '../scheme.js'
import { weightScheme } from '../weight-scheme.js'
import { recipeOptions, type RecipeUnion } from './recipe-options.js'

/** An algorithm by package name, with a configuration or without. */
export type PluginUse = string | { readonly use: string; readonly config?: { readonly [key: string]: Json }; readonly version?: string }

/** A run as JSON: what can be committed, pinned and repeated. `recipeSchema` is its JSON Schema. */
export interface Recipe {
  readonly $schema?: string
  readonly lowbit: 1
  readonly model?: string
  readonly output?: string
  readonly format?: string
  readonly weights: RecipeScheme
  readonly activations?: Omit<StaticActivations, 'observer'> & { readonly observer?: PluginUse }
  readonly rounding?: PluginUse
  readonly transforms?: readonly PluginUse[]
  /** Exact versions: any other refuses to run. */
  readonly plugins?: Readonly<Record<string, string>>
  readonly overrides?: readonly { readonly match: string; readonly weights?: RecipeScheme | null; readonly rounding?: PluginUse }[]
  readonly include?: readonly string[]
  readonly exclude?: readonly string[]
  readonly mode?: 'one-pass' | 'sequential'
  readonly biasCorrection?: boolean
  readonly calibration?: { readonly path: string; readonly [key: string]: Json }
  readonly allowNothing?: boolean
  readonly maxMemory?: number
  readonly seed?: number
  readonly settings?: Readonly<Record<string, Json>>
}

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
