import { adaptV1, hadKind } from './adapt/adapt.js'
import type { Plugin, PluginKind } from './contract/v2/plugin.js'
import type { PluginOf } from './contract/v2/plugins.js'
import { LowbitError } from './errors.js'

/** The contract this core speaks: what `apiVersion` of a plugin is held against. */
export const CONTRACT_VERSION = 2

/**
 * What plugins of contract v1 put into their `apiVersion`. It stays 1: they read it from whatever core is installed beside them,
 * and would else call themselves what they are not.
 * @deprecated A plugin states the number itself: `apiVersion: 2`.
 */
export const API_VERSION = 1

/**
 * Checks that a value is a plugin of a kind and of a contract version that this core knows, and gives it as one of the contract in
 * force: a plugin of v1 comes back adapted, any other as it is.
 * `apiVersion` is read first: nothing else of a plugin from another version can be trusted.
 * @throws LOWBIT_API_VERSION, LOWBIT_PLUGIN
 */
export function checkPlugin<K extends PluginKind>(plugin: PluginOf<K>, kind: K): PluginOf<K> {
  if (typeof plugin !== 'object' || plugin === null) {
    throw new LowbitError('LOWBIT_PLUGIN', { thing: `${kind} plugin`, found: String(plugin), expected: 'a plugin value; call the package’s function, such as gptq()' })
  }
  const given: { readonly apiVersion?: unknown } = plugin
  const version = given.apiVersion
  if (version !== CONTRACT_VERSION && version !== API_VERSION) throw unknownVersion(plugin, kind, version)
  if (plugin.kind !== kind) {
    throw new LowbitError('LOWBIT_PLUGIN', { thing: plugin.name, found: `a plugin of kind ${String(plugin.kind)}`, expected: kind })
  }
  return version === CONTRACT_VERSION ? plugin : adapted(plugin, kind)
}

function adapted<K extends PluginKind>(plugin: Plugin<PluginKind>, kind: K): PluginOf<K> {
  if (!hadKind(kind)) throw unknownVersion(plugin, kind, API_VERSION)
  // Its kind was checked and it states v1: what its members are, its authors have promised.
  return adaptV1(plugin as never, kind)
}

function unknownVersion(plugin: object, kind: PluginKind, version: unknown): LowbitError {
  const name = 'name' in plugin && typeof plugin.name === 'string' ? plugin.name : `${kind} plugin`
  const isNewer = typeof version === 'number' && version > CONTRACT_VERSION
  const fix = isNewer ? 'npm install @lowbit/core@latest' : `npm install ${name}@latest, a version made for contract ${CONTRACT_VERSION}`
  return new LowbitError('LOWBIT_API_VERSION', { thing: name, found: `apiVersion ${String(version)}`, expected: `${CONTRACT_VERSION}${hadKind(kind) ? `, or ${API_VERSION}, which is adapted` : ''}`, fix })
}
