import type { Json } from '../contract/v2/plugin.js'
import { LowbitError } from '../errors.js'
import type { StaticActivations } from '../pipeline/options.js'
import { weightScheme, type CodeType, type Scheme } from '../scheme.js'
import { RECIPE_SCHEMA } from './schema.js'
import { validate } from './validate.js'

/** A weight scheme as a recipe writes it. */
export interface RecipeScheme {
  readonly dtype: CodeType
  readonly group?: number
  readonly perTensor?: boolean
  readonly symmetric?: boolean
  readonly reduceRange?: boolean
  readonly zeroPoint?: 'integer' | 'float'
}

/** An algorithm by package name, with a configuration or without. */
export type PluginUse = string | { readonly use: string; readonly config?: { readonly [key: string]: Json } }

/** A run as JSON: what can be committed, pinned and repeated. Its JSON Schema is {@link RECIPE_SCHEMA}. */
export interface Recipe {
  readonly $schema?: string
  readonly lowbit: 1
  readonly model?: string
  readonly output?: string
  readonly format?: string
  readonly weights: RecipeScheme
  readonly activations?: StaticActivations
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
  readonly maxMemory?: number
  readonly seed?: number
  readonly settings?: Readonly<Record<string, Json>>
}

/**
 * Reads a recipe from JSON text or an already parsed value.
 * @throws LOWBIT_RECIPE naming the path and what is expected there.
 */
export function parseRecipe(source: unknown): Recipe {
  const value: unknown = typeof source === 'string' ? parseJson(source) : source
  validate(value, RECIPE_SCHEMA, 'recipe')
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
