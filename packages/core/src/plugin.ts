import type { Plugin, PluginKind } from './contract/plugin.js'
import { LowbitError } from './errors.js'

/** Contract versions this core can talk to. */
export const API_VERSION = 1

/**
 * Checks that a value is a plugin of a kind and of a contract version that this core knows.
 * `apiVersion` is read first: nothing else of a plugin from another version can be trusted.
 * @throws LOWBIT_API_VERSION, LOWBIT_PLUGIN
 */
export function checkPlugin<K extends PluginKind, P extends Plugin<K>>(plugin: P, kind: K): P {
  if (typeof plugin !== 'object' || plugin === null) {
    throw new LowbitError('LOWBIT_PLUGIN', { thing: `${kind} plugin`, found: String(plugin), expected: 'a plugin value; call the package’s function, such as gptq()' })
  }
  const version: unknown = plugin.apiVersion
  if (version !== API_VERSION) {
    const name = 'name' in plugin && typeof plugin.name === 'string' ? plugin.name : `${kind} plugin`
    throw new LowbitError('LOWBIT_API_VERSION', { thing: name, found: `apiVersion ${String(version)}`, expected: `${API_VERSION}`, fix: `install a version of ${name} that is made for this @lowbit/core` })
  }
  if (plugin.kind !== kind) {
    throw new LowbitError('LOWBIT_PLUGIN', { thing: plugin.name, found: `a plugin of kind ${String(plugin.kind)}`, expected: kind })
  }
  return plugin
}
