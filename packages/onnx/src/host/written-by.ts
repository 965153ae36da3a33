import type { Json } from '@lowbit/core'
import { VERSION } from '../version.js'

/** What is written does not depend on the host that opened the model, with a runtime or without: the writer is named in its place. */
export function writtenBy(recipe: Json, host: string): Json {
  if (typeof recipe !== 'object' || recipe === null || !('plugins' in recipe) || !Array.isArray(recipe.plugins)) return recipe
  const plugins: readonly Json[] = recipe.plugins
  const isHost = (plugin: Json): plugin is { readonly [key: string]: Json } => typeof plugin === 'object' && plugin !== null && 'name' in plugin && plugin.name === host
  return { ...recipe, plugins: plugins.map((plugin) => (isHost(plugin) ? { ...plugin, name: '@lowbit/onnx', version: VERSION } : plugin)) }
}
