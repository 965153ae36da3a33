import type { Declarations, DeclarationsOf } from '../options/declaration.js'
import { OVERRIDE_OPTIONS, SHARED_OPTIONS } from '../options/quantize-options.js'
import type { Recipe } from './recipe.js'

/**
 * What the packages at hand declare beside what core knows: with it a recipe's settings, plugin configurations and data are
 * looked into. What is left out may hold anything.
 */
export interface RecipeUnion {
  /** Configurations of plugins, by package name. */
  readonly configs?: Readonly<Record<string, Declarations>>
  /** Settings of the hosts that may run the recipe. */
  readonly settings?: Declarations
  /** How calibration data is read. */
  readonly calibration?: Declarations
}

/** Everything a recipe holds. */
export function recipeOptions({ settings, calibration }: RecipeUnion = {}): DeclarationsOf<Recipe> {
  return {
    $schema: { type: 'text', about: 'where the JSON Schema of recipes stands' },
    lowbit: { type: 'choice', values: [1], required: true, about: 'version of this format' },
    model: { type: 'text', about: 'path of the model, relative to the recipe' },
    output: { type: 'text', about: 'path of the artifact, relative to the recipe' },
    ...SHARED_OPTIONS,
    overrides: { type: 'list', of: { type: 'options', options: OVERRIDE_OPTIONS }, about: 'other decisions for the sites that match; later ones win' },
    plugins: { type: 'record', of: { type: 'text', pattern: '^\\d+\\.\\d+\\.\\d+([-+].*)?$' }, about: 'pinned versions: package name to exact version' },
    calibration: calibration === undefined ? { type: 'record', of: { type: 'json' }, about: 'calibration data, read by the command line' } : { type: 'options', options: calibration, about: 'calibration data, read by the command line' },
    ...(settings === undefined ? {} : { settings: { ...SHARED_OPTIONS.settings, type: 'options', options: settings } }),
  }
}
