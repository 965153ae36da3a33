import { bestOf, LowbitError, refined, resolveRounding, roundingOf, rtn, unbiased, type Json, type MadePlugin, type Plugin, type PluginTable, type PluginUse, type RoundingAlgorithm } from '@lowbit/core'

/**
 * The algorithms that a worker can make, from their names and configurations: core's own, and those that are given.
 * @param own - package name → factory, such as `{ '@lowbit/algos-gptq': gptq }`
 */
export function algorithmTable(own: PluginTable = {}): PluginTable {
  const table: PluginTable = {
    '@lowbit/core/rtn': (config) => rtn(config),
    '@lowbit/core/best-of': ({ candidates = [] }) => {
      if (!Array.isArray(candidates)) throw new LowbitError('LOWBIT_RECIPE', { thing: '@lowbit/core/best-of, candidates', found: JSON.stringify(candidates), expected: 'a list of algorithms' })
      return bestOf(candidates.map((use: Json | MadePlugin) => roundingOf(use, table)))
    },
    '@lowbit/core/unbiased': ({ rounding = '@lowbit/core/rtn' }) => unbiased(roundingOf(rounding, table)),
    '@lowbit/core/refined': ({ rounding = '@lowbit/core/rtn', ...options }) => refined(roundingOf(rounding, table), options),
    ...own,
  }
  return table
}

/** Names an algorithm without carrying its code: what crosses threads. A plugin is one of its own. */
export type AlgorithmName = Pick<Plugin<'rounding' | 'transform'>, 'name' | 'version' | 'config'>

/** As a recipe would name it. */
export function useOf({ name, config }: Pick<AlgorithmName, 'name' | 'config'>): PluginUse {
  return isConfig(config) ? { use: name, config } : { use: name }
}

/** The same algorithm again: `undefined` where this table makes none of that name, or another version or configuration. */
export function remake({ name, version, config }: AlgorithmName, table: PluginTable): RoundingAlgorithm | undefined {
  if (!Object.hasOwn(table, name) || !isConfig(config)) return undefined
  try {
    const again = resolveRounding({ use: name, config }, table)
    return again.version === version && JSON.stringify(again.config) === JSON.stringify(config) ? again : undefined
  } catch {
    return undefined
  }
}

function isConfig(config: Json): config is { readonly [key: string]: Json } {
  return typeof config === 'object' && config !== null && !Array.isArray(config)
}
