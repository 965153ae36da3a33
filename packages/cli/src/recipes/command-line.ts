import { ACTIVATION_OPTIONS, type Json, type Recipe } from '@lowbit/core'
import { QUANTIZE_FLAGS, type QuantizeValues } from './quantize-flags.js'
import { recipeOfValues } from './recipe-of-values.js'
import { longName, SHORT, SHORT_BEFORE_CORRECTION } from './short-names.js'

/**
 * The values of `lowbit quantize` that stand for a recipe; undefined for one that flags cannot say (algorithms with configurations,
 * bins of a histogram): those are for `lowbit run`.
 */
export function valuesOfRecipe(recipe: Recipe): QuantizeValues | undefined {
  const { weights, format, rounding, transforms, activations, overrides, include, exclude, mode, biasCorrection, allowNothing, maxMemory, seed, settings } = recipe
  const calibration = calibrationValues(recipe.calibration)
  const algorithm = rounding === undefined ? undefined : shortName(rounding)
  const values: QuantizeValues = {
    weights: [weights.dtype],
    ...(format === undefined ? {} : { format }),
    ...(weights.group === undefined ? {} : { group: weights.group }),
    ...(weights.perTensor === true ? { perTensor: true } : {}),
    ...(weights.symmetric === true ? { symmetric: true } : weights.symmetric === false && algorithm !== 'hqq' ? { asymmetric: true } : {}),
    ...(weights.reduceRange === true ? { reduceRange: true } : {}),
    ...(algorithm === undefined ? {} : { algorithm }),
    ...(transforms === undefined ? {} : { transform: transforms.map((use) => shortName(use) ?? '') }),
    ...(activations === undefined ? {} : activationValues(activations)),
    ...(overrides === undefined ? {} : { override: overrides.map((o) => `${o.match}=${o.weights == null ? 'float' : `${o.weights.dtype}${o.weights.group === undefined ? '' : `:${o.weights.group}`}`}`) }),
    ...(include === undefined ? {} : { include }),
    ...(exclude === undefined ? {} : { exclude }),
    ...(mode === undefined ? {} : { mode }),
    ...(biasCorrection === undefined ? {} : { biasCorrection }),
    ...(allowNothing === undefined ? {} : { allowNothing }),
    ...(maxMemory === undefined ? {} : { maxMemory: maxMemory / 2 ** 20 }),
    ...(seed === undefined ? {} : { seed }),
    ...(settings === undefined ? {} : { set: Object.entries(settings).map(([key, value]) => `${key}=${JSON.stringify(value)}`) }),
    ...calibration,
  }
  // What the command would make of them is what counts.
  if (says(values, recipe)) return values
  // Where the command would choose an algorithm, rounding to nearest has to be asked for.
  const plain: QuantizeValues = { ...values, algorithm: 'rtn' }
  return rounding === undefined && says(plain, { ...recipe, rounding: longName('rtn') }) ? plain : undefined
}

/**
 * The command that does what a recipe says: `lowbit quantize` with flags where those say it all, else `lowbit run`.
 * @param recipeFile - for a recipe that flags cannot say
 */
export function commandLine(recipe: Recipe, recipeFile = 'recipe.json'): string {
  const values = valuesOfRecipe(recipe)
  if (values === undefined || recipe.model === undefined) return `lowbit run ${quoted(recipeFile)}`
  const words = ['lowbit', 'quantize', quoted(recipe.model), ...(recipe.output === undefined ? [] : ['-o', quoted(recipe.output)])]
  for (const [name, value] of Object.entries(values)) {
    const flag = Object.entries(QUANTIZE_FLAGS).find(([known]) => known === name)?.[1]
    if (flag === undefined || value === undefined) continue
    const word = /^-\w(?=,)/.exec(flag.flags)?.[0] ?? /--[a-z-]+/.exec(flag.flags)?.[0] ?? flag.flags
    if (!flag.flags.includes('<')) words.push(word)
    else for (const one of flag.repeat === true && Array.isArray(value) ? (value as readonly unknown[]) : [value]) words.push(word, quoted(String(one)))
  }
  return words.join(' ')
}

function shortName(use: Json): string | undefined {
  const text = JSON.stringify(use)
  return [...Object.entries(SHORT), ...Object.entries(SHORT_BEFORE_CORRECTION)].find(([, known]) => JSON.stringify(known) === text)?.[0] ?? (typeof use === 'string' ? use : undefined)
}

function activationValues({ dtype, symmetric, method, observer, rescue, operators, percentile, sample }: NonNullable<Recipe['activations']>): Partial<QuantizeValues> {
  const own = ACTIVATION_OPTIONS.method.values.find((m) => m === method)
  return {
    activations: dtype,
    ...(symmetric === true ? { symmetricActivations: true } : {}),
    ...(own === undefined ? (typeof observer === 'string' ? { method: observer } : {}) : { method: own }),
    ...(rescue === false ? { rescue } : {}),
    ...(operators === undefined ? {} : { operators }),
    ...(percentile === undefined ? {} : { percentile }),
    ...(sample === undefined ? {} : { sample }),
  }
}

function calibrationValues(calibration: Recipe['calibration']): Partial<QuantizeValues> {
  if (calibration === undefined) return {}
  const { path, image, ...rest } = calibration
  const flat = typeof image === 'object' && image !== null && !Array.isArray(image) ? Object.entries(image).map(([key, value]) => [`image${key.charAt(0).toUpperCase()}${key.slice(1)}`, value]) : []
  return { calibration: path, ...rest, ...Object.fromEntries(flat) }
}

/** Whether the command makes this recipe of these values; its paths are its own. */
function says(values: QuantizeValues, recipe: Recipe): boolean {
  try {
    return canonical(recipeOfValues(values)) === canonical(without(recipe, PATHS))
  } catch {
    return false
  }
}

/** What the command writes of its own. */
const PATHS: readonly string[] = ['model', 'output', 'plugins', '$schema'] satisfies readonly (keyof Recipe)[]

function without(value: object, keys: readonly string[]): object {
  return Object.fromEntries(Object.entries(value).filter(([key]) => !keys.includes(key)))
}

/** JSON with sorted keys. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'object' && inner !== null && !Array.isArray(inner) ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))) : inner))
}

/** As a POSIX shell takes it. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
