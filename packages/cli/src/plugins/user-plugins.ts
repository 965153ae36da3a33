import { pathToFileURL } from 'node:url'
import { checkPlugin, isLowbitError, LowbitError, pluginUses, suggest, type MadePlugin, type PluginFactory, type PluginTable, type Recipe } from '@lowbit/core'
import { ALGORITHMS } from '../recipes/algorithms.js'
import { SHORT } from '../recipes/short-names.js'
import { isBareName, moduleFile, nearestProject, packageOf, type Project } from './find-package.js'

/**
 * The algorithms that recipes may use: what the command brings, and the packages of the user's own project that they name.
 * @param allowed - false: a recipe that names one is refused, because its code would run
 * @throws LOWBIT_NOT_FOUND for what the project's package.json does not list; LOWBIT_PLUGIN for a package that is no plugin
 */
export async function pluginTable(recipes: readonly Recipe[], allowed: boolean, folder: string): Promise<PluginTable> {
  const foreign = [...new Set(recipes.flatMap((recipe) => [...pluginUses(recipe), ...Object.keys(recipe.plugins ?? {})]))].filter((name) => !Object.hasOwn(ALGORITHMS, name))
  if (foreign.length === 0) return ALGORITHMS
  const project = nearestProject(folder)
  const table: Record<string, PluginFactory> = { ...ALGORITHMS }
  for (const name of foreign) {
    const listed = requireListed(name, project)
    if (!allowed) {
      throw new LowbitError('LOWBIT_RECIPE', { thing: `recipe, package ${JSON.stringify(name)}`, found: 'a package whose code would run', expected: 'only algorithms that lowbit brings', fix: 'add --allow-plugins if you trust the recipe and the package' })
    }
    table[name] = await loadFactory(name, listed)
  }
  return table
}

function requireListed(name: string, project: Project | undefined): Project {
  const known = [...Object.keys(SHORT), ...Object.keys(ALGORITHMS)]
  const near = suggest(name, known)
  const fail = (found: string, fix: string): LowbitError =>
    new LowbitError('LOWBIT_NOT_FOUND', { thing: `algorithm ${JSON.stringify(name)}`, found, expected: `${known.join(', ')}, or a package that your package.json lists`, fix: near === undefined ? fix : `did you mean ${near}?` })
  if (!isBareName(name)) throw fail('no name of a package', 'give the bare name of an installed package')
  if (project === undefined) throw fail('not at hand, and there is no package.json here', `run \`npm install ${packageOf(name)}\``)
  if (!project.listed.has(packageOf(name))) throw fail(`not at hand, and not listed in ${project.file}`, `run \`npm install ${packageOf(name)}\` there`)
  return project
}

async function loadFactory(name: string, project: Project): Promise<PluginFactory> {
  const file = moduleFile(name, project)
  let module: Readonly<Record<string, unknown>>
  try {
    module = (await import(pathToFileURL(file).href)) as Readonly<Record<string, unknown>>
  } catch (cause) {
    throw new LowbitError('LOWBIT_PLUGIN', { thing: `package ${JSON.stringify(name)}`, found: `cannot be loaded (${cause instanceof Error ? cause.message : String(cause)})`, cause })
  }
  const make = factoryOf(module, name)
  return (config) => checkMade(make(config), name)
}

type Maker = (config: unknown) => unknown

/** The function that makes the plugin: `createPlugin`, the default export, or the only function there is. */
function factoryOf(module: Readonly<Record<string, unknown>>, name: string): Maker {
  const functions = Object.entries(module).filter((entry): entry is [string, Maker] => typeof entry[1] === 'function' && !/^class\b/.test(Function.prototype.toString.call(entry[1])))
  const named = functions.find(([key]) => key === 'createPlugin') ?? functions.find(([key]) => key === 'default') ?? (functions.length === 1 ? functions[0] : undefined)
  if (named !== undefined) return named[1]
  throw new LowbitError('LOWBIT_PLUGIN', { thing: `package ${JSON.stringify(name)}`, found: functions.length === 0 ? 'no function exported' : `functions ${functions.map(([key]) => key).join(', ')}`, expected: 'one function that makes the plugin from its options, or createPlugin' })
}

/** Its kind, and the contract it was written for, before anything else of it is used. */
function checkMade(made: unknown, name: string): MadePlugin {
  if (!isMade(made)) throw new LowbitError('LOWBIT_PLUGIN', { thing: `package ${JSON.stringify(name)}`, found: 'a function that makes no plugin', expected: 'an algorithm of kind rounding, transform or observer' })
  try {
    return made.kind === 'rounding' ? checkPlugin(made, 'rounding') : made.kind === 'transform' ? checkPlugin(made, 'transform') : checkPlugin(made, 'observer')
  } catch (error) {
    if (isLowbitError(error)) throw error
    throw new LowbitError('LOWBIT_PLUGIN', { thing: `package ${JSON.stringify(name)}`, found: String(error), cause: error })
  }
}

function isMade(value: unknown): value is MadePlugin {
  return typeof value === 'object' && value !== null && 'kind' in value && (value.kind === 'rounding' || value.kind === 'transform' || value.kind === 'observer')
}
