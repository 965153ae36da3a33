import type { RoundingAlgorithm, TransformAlgorithm } from '../contract/v2/algorithm.js'
import type { Json } from '../contract/v2/plugin.js'
import { LowbitError } from '../errors.js'
import type { Override, QuantizeOptions } from '../pipeline/options.js'
import { checkPlugin } from '../plugin.js'
import { recipeScheme, type PluginUse, type Recipe } from './recipe.js'

/** Makes a plugin from the configuration in a recipe. */
export type PluginFactory = (config: { readonly [key: string]: Json }) => RoundingAlgorithm | TransformAlgorithm

/** The algorithms at hand: package name → factory. The caller decides what is installed; core loads nothing by name. */
export type PluginTable = Readonly<Record<string, PluginFactory>>

/**
 * Turns a recipe into options for `quantize`.
 * @throws LOWBIT_VERSION if a pinned version is not the one at hand; LOWBIT_NOT_FOUND for an algorithm that is not.
 */
export function resolveRecipe(recipe: Recipe, table: PluginTable): QuantizeOptions {
  checkPins(recipe, table)
  const rounding = (use: PluginUse): RoundingAlgorithm => resolveRounding(use, table)
  const transform = (use: PluginUse): TransformAlgorithm => {
    const plugin = make(use, table)
    if (plugin.kind !== 'transform') throw wrongKind(plugin.name, plugin.kind, 'transforms')
    return checkPlugin(plugin, 'transform')
  }
  const overrides = recipe.overrides?.map(
    (o): Override => ({
      match: o.match,
      ...(o.weights === undefined ? {} : { weights: o.weights === null ? null : recipeScheme(o.weights) }),
      ...(o.rounding === undefined ? {} : { rounding: rounding(o.rounding) }),
    }),
  )
  return {
    weights: recipeScheme(recipe.weights),
    ...pick(recipe, ['format', 'activations', 'include', 'exclude', 'mode', 'biasCorrection', 'allowNothing', 'maxMemory', 'seed', 'settings']),
    ...(recipe.rounding === undefined ? {} : { rounding: rounding(recipe.rounding) }),
    ...(recipe.transforms === undefined ? {} : { transforms: recipe.transforms.map(transform) }),
    ...(overrides === undefined ? {} : { overrides }),
  }
}

/**
 * One rounding algorithm by name, also where it stands inside another one's configuration: text, or an object of `use`, `config` and the
 * `version` that it must have.
 * @throws LOWBIT_RECIPE for anything else; LOWBIT_VERSION and LOWBIT_NOT_FOUND as {@link resolveRecipe}.
 */
export function resolveRounding(use: Json, table: PluginTable): RoundingAlgorithm {
  const { name, config, version } = pluginUse(use)
  const plugin = factoryOf(name, table)(config)
  if (plugin.kind !== 'rounding') throw wrongKind(plugin.name, plugin.kind, 'rounding')
  if (version !== undefined && version !== plugin.version) {
    throw new LowbitError('LOWBIT_VERSION', { thing: `algorithm ${JSON.stringify(name)}`, found: `version ${plugin.version} is installed`, expected: `exactly ${version}`, fix: `run \`npm install ${name}@${version}\`` })
  }
  return checkPlugin(plugin, 'rounding')
}

function pluginUse(use: Json): { readonly name: string; readonly config: { readonly [key: string]: Json }; readonly version?: string } {
  if (typeof use === 'string') return { name: use, config: {} }
  if (isObject(use)) {
    const { use: name, config = {}, version } = use
    if (typeof name === 'string' && isObject(config) && (version === undefined || typeof version === 'string')) return { name, config, ...(version === undefined ? {} : { version }) }
  }
  throw new LowbitError('LOWBIT_RECIPE', { thing: 'algorithm', found: JSON.stringify(use), expected: 'a package name, or { "use": name, "config": options }' })
}

function isObject(value: Json): value is { readonly [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Every pinned package must be there in exactly that version, used or not: a pin is a statement about the whole run. */
function checkPins(recipe: Recipe, table: PluginTable): void {
  for (const [name, wanted] of Object.entries(recipe.plugins ?? {})) {
    const found = factoryOf(name, table)({}).version
    if (found !== wanted) {
      throw new LowbitError('LOWBIT_VERSION', {
        thing: `recipe.plugins[${JSON.stringify(name)}]`,
        found: `version ${found} is installed`,
        expected: `exactly ${wanted}`,
        fix: `run \`npm install ${name}@${wanted}\`, or change the pin to ${found} and accept other results`,
      })
    }
  }
}

function make(use: PluginUse, table: PluginTable): RoundingAlgorithm | TransformAlgorithm {
  const { use: name, config = {} } = typeof use === 'string' ? { use } : use
  return factoryOf(name, table)(config)
}

function factoryOf(name: string, table: PluginTable): PluginFactory {
  const factory = Object.hasOwn(table, name) ? table[name] : undefined
  if (factory === undefined) {
    throw new LowbitError('LOWBIT_NOT_FOUND', {
      thing: `algorithm ${JSON.stringify(name)}`,
      found: 'not at hand',
      expected: Object.keys(table).join(', ') || 'an algorithm passed by the caller',
      fix: `run \`npm install ${name}\` and pass it in`,
    })
  }
  return factory
}

function wrongKind(name: string, kind: string, wanted: string): LowbitError {
  return new LowbitError('LOWBIT_RECIPE', { thing: `recipe.${wanted}`, found: `${name}, which is a ${kind} algorithm`, expected: `an algorithm for ${wanted}` })
}

function pick<T extends object, K extends keyof T>(from: T, keys: readonly K[]): Partial<Pick<T, K>> {
  const out: Partial<Pick<T, K>> = {}
  for (const key of keys) if (from[key] !== undefined) out[key] = from[key]
  return out
}
