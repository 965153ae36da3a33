import type { RoundingAlgorithm, TransformAlgorithm } from '../contract/v2/algorithm.js'
import type { RangeObserver } from '../contract/v2/observer.js'
import type { Json } from '../contract/v2/plugin.js'
import type { PluginOf } from '../contract/v2/plugins.js'
import { LowbitError } from '../errors.js'
import type { Declarations, ValueType } from '../options/declaration.js'
import { withArticle } from '../options/describe-type.js'
import type { Override, QuantizeOptions } from '../pipeline/options.js'
import { checkPlugin } from '../plugin.js'
import { recipeScheme } from './parse-recipe.js'
import type { Recipe } from './recipe.js'

/** A plugin that a recipe can name. */
export type MadePlugin = RoundingAlgorithm | TransformAlgorithm | RangeObserver

/** A configuration in which plugins that a recipe names were made. */
export interface PluginConfig {
  readonly [key: string]: Json | MadePlugin | readonly MadePlugin[]
}

/** Makes a plugin from the configuration in a recipe. With `options`, what is declared as a plugin there may be named too. */
export interface PluginFactory {
  (config: PluginConfig): MadePlugin
  readonly options?: Declarations
}

/** The algorithms at hand: package name → factory. The caller decides what is installed; core loads nothing by name. */
export type PluginTable = Readonly<Record<string, PluginFactory>>

/**
 * Turns a recipe into options for `quantize`.
 * @throws LOWBIT_VERSION if a pinned version is not the one at hand; LOWBIT_NOT_FOUND for an algorithm that is not.
 */
export function resolveRecipe(recipe: Recipe, table: PluginTable): QuantizeOptions {
  checkPins(recipe, table)
  const overrides = recipe.overrides?.map(
    (o): Override => ({
      match: o.match,
      ...(o.weights === undefined ? {} : { weights: o.weights === null ? null : recipeScheme(o.weights) }),
      ...(o.rounding === undefined ? {} : { rounding: resolvePlugin(o.rounding, 'rounding', table) }),
    }),
  )
  return {
    weights: recipeScheme(recipe.weights),
    ...pick(recipe, ['format', 'include', 'exclude', 'mode', 'biasCorrection', 'allowNothing', 'maxMemory', 'seed', 'settings']),
    ...(recipe.activations === undefined ? {} : { activations: resolveActivations(recipe.activations, table) }),
    ...(recipe.rounding === undefined ? {} : { rounding: resolvePlugin(recipe.rounding, 'rounding', table) }),
    ...(recipe.transforms === undefined ? {} : { transforms: recipe.transforms.map((use) => resolvePlugin(use, 'transform', table)) }),
    ...(overrides === undefined ? {} : { overrides }),
  }
}

function resolveActivations({ observer, ...rest }: NonNullable<Recipe['activations']>, table: PluginTable): NonNullable<QuantizeOptions['activations']> {
  return observer === undefined ? rest : { ...rest, observer: resolvePlugin(observer, 'observer', table) }
}

/**
 * One rounding algorithm by name, also where it stands inside another one's configuration: text, or an object of `use`, `config` and the
 * `version` that it must have.
 * @throws LOWBIT_RECIPE for anything else; LOWBIT_VERSION and LOWBIT_NOT_FOUND as {@link resolveRecipe}.
 */
export function resolveRounding(use: Json, table: PluginTable): RoundingAlgorithm {
  return resolvePlugin(use, 'rounding', table)
}

/** The rounding algorithm in a configuration: made before, or named. */
export function roundingOf(value: PluginConfig[string], table: PluginTable): RoundingAlgorithm {
  return isRounding(value) ? value : resolveRounding(isNamed(value) ? value : null, table)
}

function isRounding(value: PluginConfig[string]): value is RoundingAlgorithm {
  return typeof value === 'object' && value !== null && 'round' in value && typeof value.round === 'function'
}

function isNamed(value: PluginConfig[string]): value is Json {
  return typeof value === 'string' || (typeof value === 'object' && value !== null && 'use' in value)
}

function resolvePlugin<K extends MadePlugin['kind']>(use: Json, kind: K, table: PluginTable): PluginOf<K> {
  const { name, config, version } = pluginUse(use)
  const factory = factoryOf(name, table)
  const plugin = factory(factory.options === undefined ? config : withPlugins(config, factory.options, table))
  if (plugin.kind !== kind) throw wrongKind(plugin.name, plugin.kind, kind)
  if (version !== undefined && version !== plugin.version) {
    throw new LowbitError('LOWBIT_VERSION', { thing: `algorithm ${JSON.stringify(name)}`, found: `version ${plugin.version} is installed`, expected: `exactly ${version}`, fix: `run \`npm install ${name}@${version}\`` })
  }
  // Its kind was just compared.
  return checkPlugin(plugin as PluginOf<K>, kind)
}

/** A configuration with the plugins made that it names where plugins are declared. */
function withPlugins(config: { readonly [key: string]: Json }, options: Declarations, table: PluginTable): PluginConfig {
  const made = Object.entries(config).map(([key, value]) => {
    const type = Object.hasOwn(options, key) ? options[key] : undefined
    const kind = type === undefined ? undefined : namedKind(type, value)
    if (kind === undefined) return [key, value] as const
    return [key, Array.isArray(value) ? value.map((use: Json) => resolvePlugin(use, kind, table)) : resolvePlugin(value, kind, table)] as const
  })
  return Object.fromEntries(made)
}

/** The kind of plugin that a value names; undefined where it is a value of another sort. */
function namedKind(type: ValueType, value: Json): MadePlugin['kind'] | undefined {
  if (type.type === 'plugin') return type.kind === 'rounding' || type.kind === 'transform' || type.kind === 'observer' ? type.kind : undefined
  if (type.type === 'list' && Array.isArray(value)) return namedKind(type.of, null)
  if (type.type !== 'either' || typeof value !== 'object' || value === null || !('use' in value)) return undefined
  return type.of.map((t) => namedKind(t, value)).find((kind) => kind !== undefined)
}

/** Names of all plugins that a recipe uses, also within configurations. */
export function pluginUses({ rounding, transforms = [], overrides = [], activations }: Recipe): readonly string[] {
  const names = new Set<string>()
  for (const use of [rounding, activations?.observer, ...transforms, ...overrides.map((o) => o.rounding)]) if (use !== undefined) addUses(use, true, names)
  return [...names]
}

/** Keys of configurations whose text is the name of a plugin. */
const PLUGIN_KEYS: readonly string[] = ['use', 'rounding', 'candidates']

function addUses(value: Json, isName: boolean, names: Set<string>): void {
  if (typeof value === 'string' && isName) names.add(value)
  if (Array.isArray(value)) value.forEach((item: Json) => addUses(item, isName, names))
  else if (typeof value === 'object' && value !== null) for (const [key, inner] of Object.entries(value)) addUses(inner, PLUGIN_KEYS.includes(key), names)
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
  return new LowbitError('LOWBIT_RECIPE', { thing: 'recipe', found: `${name}, which is ${withArticle(kind)} plugin`, expected: `${withArticle(wanted)} plugin` })
}

function pick<T extends object, K extends keyof T>(from: T, keys: readonly K[]): Partial<Pick<T, K>> {
  const out: Partial<Pick<T, K>> = {}
  for (const key of keys) if (from[key] !== undefined) out[key] = from[key]
  return out
}
