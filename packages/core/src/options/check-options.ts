import type { PluginKind } from '../contract/v2/plugin.js'
import type { PluginOf } from '../contract/v2/plugins.js'
import { LowbitError } from '../errors.js'
import { checkPlugin } from '../plugin.js'
import type { Declaration, Declarations, Filled, ValueType } from './declaration.js'
import { requireShallow } from './depth.js'
import { describeType, withArticle } from './describe-type.js'
import type { CheckSettings, Lookup, OptionProblem } from './problem.js'
import { schemeProblem } from './scheme-options.js'
import { senseProblem } from './sense.js'
import { show } from './show.js'
import { suggest } from './suggest.js'

/**
 * Fills the defaults of an object of options in, after checking it: unknown names, types, ranges, contradictions, and options that
 * would do nothing.
 * @param thing - the function that takes them: `gptq` gives messages about `gptq({ percdamp })`
 * @throws LOWBIT_ARGUMENT naming the option, what was found and what is expected
 */
export function resolveOptions<O extends object, const D extends Declarations>(declarations: D, given: O | undefined, thing: string, settings: Partial<CheckSettings> = {}): Filled<O, D> {
  const value = given ?? {}
  checkOptions(declarations, value, { form: 'value', code: 'LOWBIT_ARGUMENT', place: (path) => (path === '' ? thing : `${thing}({ ${path} })`), ...settings })
  const filled: Record<string, unknown> = {}
  for (const [name, { default: standard }] of Object.entries(declarations)) if (standard !== undefined) filled[name] = standard
  for (const [name, own] of Object.entries(value)) if (own !== undefined) filled[name] = own
  // Every name and type was just checked against the declarations that the return type is made of.
  return filled as Filled<O, D>
}

/** As {@link resolveOptions}, without defaults. @throws with `settings.code` */
export function checkOptions(declarations: Declarations, given: unknown, settings: CheckSettings): void {
  requireShallow(settings.form === 'json' ? given : undefined, settings.place(''), settings.code)
  const problem = optionsProblem(given, declarations, '', settings, settings.surroundings ?? (() => undefined))
  if (problem !== undefined) throw new LowbitError(settings.code, { thing: settings.place(problem.path), found: problem.found, ...(problem.expected === undefined ? {} : { expected: problem.expected }), ...(problem.fix === undefined ? {} : { fix: problem.fix }) })
}

function optionsProblem(given: unknown, declarations: Declarations, path: string, settings: CheckSettings, outer: Lookup): OptionProblem | undefined {
  if (!isObject(given)) return { path, found: show(given), expected: settings.form === 'json' ? 'an object' : `an object of ${Object.keys(declarations).join(', ')}` }
  const under = (name: string): string => (path === '' ? name : `${path}.${name}`)
  for (const [name, declaration] of Object.entries(declarations)) {
    if (declaration.required === true && (!Object.hasOwn(given, name) || given[name] === undefined)) return { path: under(name), found: 'nothing', expected: `${describeType(declaration)}: ${declaration.about}` }
  }
  const known = Object.keys(declarations)
  const lookup: Lookup = (name) => (Object.hasOwn(declarations, name) ? given[name] ?? declarations[name]?.default : outer(name))
  for (const [name, value] of Object.entries(given)) {
    const declaration = Object.hasOwn(declarations, name) ? declarations[name] : undefined
    if (declaration === undefined) return unknown(name, known, under(name), settings)
    // Absent and undefined are one in the API; JSON has no undefined.
    if (value === undefined) continue
    const problem = valueProblem(value, declaration, under(name), settings, lookup) ?? senseProblem(name, value, declaration, given, lookup, under(name))
    if (problem !== undefined) return problem
  }
  return undefined
}

function unknown(name: string, known: readonly string[], path: string, { form }: CheckSettings): OptionProblem {
  const near = suggest(name, known)
  return { path, found: form === 'json' ? 'an unknown property' : 'an unknown option', expected: known.length === 0 ? 'none' : `one of ${known.join(', ')}`, ...(near === undefined ? {} : { fix: `did you mean ${near}?` }) }
}

/** What is wrong with one value. */
export function valueProblem(value: unknown, type: ValueType | Declaration, path: string, settings: CheckSettings, lookup: Lookup): OptionProblem | undefined {
  const wrong = (expected = describeType(type), fix?: string): OptionProblem => ({ path, found: show(value), expected, ...(fix === undefined ? {} : { fix }) })
  switch (type.type) {
    case 'boolean':
      return typeof value === 'boolean' ? undefined : wrong(settings.form === 'json' ? 'a boolean' : undefined)
    case 'null':
      return value === null ? undefined : wrong()
    case 'json':
      return undefined
    case 'number':
    case 'integer':
      return numberProblem(value, type, wrong)
    case 'text':
      if (typeof value !== 'string') return wrong()
      return type.pattern === undefined || new RegExp(type.pattern).test(value) ? undefined : wrong()
    case 'choice': {
      if (type.values.some((v) => v === value)) return undefined
      const near = typeof value === 'string' ? suggest(value, type.values.map(String)) : undefined
      return wrong(undefined, near === undefined ? undefined : `did you mean ${near}?`)
    }
    case 'list':
      if (!Array.isArray(value)) return wrong()
      if (type.length !== undefined && value.length !== type.length) return wrong()
      return first(value.map((item: unknown, i) => () => valueProblem(item, type.of, `${path}[${i}]`, settings, lookup)))
    case 'either':
      return eitherProblem(value, type.of, path, settings, lookup, wrong)
    case 'options':
      return optionsProblem(value, type.options, path, settings, lookup)
    case 'record':
      if (!isObject(value)) return wrong('an object')
      return first(Object.entries(value).map(([key, item]) => () => valueProblem(item, type.of, `${path}.${key}`, settings, lookup)))
    case 'scheme':
      return schemeProblem(value, path, settings, lookup, optionsProblem)
    case 'plugin':
      return settings.form === 'json' ? pluginUseProblem(value, type.kind, path, settings, lookup) : pluginProblem(value, type.kind, wrong)
    case 'object':
      return (typeof value === 'object' || typeof value === 'function') && value !== null && type.has.every((member) => member in value) ? undefined : wrong()
    case 'function':
      return typeof value === 'function' ? undefined : wrong()
  }
}

type Wrong = (expected?: string, fix?: string) => OptionProblem

function numberProblem(value: unknown, type: Extract<ValueType, { readonly type: 'number' | 'integer' }>, wrong: Wrong): OptionProblem | undefined {
  const { minimum = -Infinity, maximum = Infinity, above = -Infinity, below = Infinity, multipleOf } = type
  if (typeof value !== 'number' || !Number.isFinite(value)) return wrong()
  if (type.type === 'integer' && !Number.isSafeInteger(value)) return wrong()
  if (value < minimum || value > maximum || value <= above || value >= below) return wrong()
  return multipleOf === undefined || value % multipleOf === 0 ? undefined : wrong()
}

/** A problem inside the value says more than "none of these": the one that got furthest is shown. */
function eitherProblem(value: unknown, of: readonly ValueType[], path: string, settings: CheckSettings, lookup: Lookup, wrong: Wrong): OptionProblem | undefined {
  let deepest: OptionProblem | undefined
  for (const type of of) {
    const problem = valueProblem(value, type, path, settings, lookup)
    if (problem === undefined) return undefined
    if (deepest === undefined || problem.path.length > deepest.path.length) deepest = problem
    else if (problem.path === deepest.path && deepest.fix === undefined) deepest = { ...deepest, ...(problem.fix === undefined ? {} : { fix: problem.fix }) }
  }
  return deepest === undefined || deepest.path === path ? wrong(undefined, deepest?.fix) : deepest
}

function pluginProblem(value: unknown, kind: Extract<ValueType, { readonly type: 'plugin' }>['kind'], wrong: Wrong): OptionProblem | undefined {
  if (typeof value === 'function') return wrong(undefined, `call it: ${value.name || 'the function'}()`)
  if (typeof value === 'string') return wrong(undefined, 'import the package and call its function: names are for recipes and the command line')
  if (!isPlugin(value)) return wrong()
  checkPlugin(value, kind)
  return undefined
}

/** True for what says of itself that it is a plugin; `checkPlugin` looks at the rest. */
function isPlugin(value: unknown): value is PluginOf<PluginKind> {
  return typeof value === 'object' && value !== null && 'apiVersion' in value
}

/** A plugin as a recipe names it. */
function pluginUseProblem(value: unknown, kind: string, path: string, settings: CheckSettings, lookup: Lookup): OptionProblem | undefined {
  if (typeof value === 'string') return undefined
  if (!isObject(value)) return { path, found: show(value), expected: `${withArticle(kind)} plugin: a package name, or { "use": name, "config": options }` }
  const problem = optionsProblem(value, PLUGIN_USE, path, settings, lookup)
  if (problem !== undefined) return problem
  const { use, config } = value
  const declared = typeof use === 'string' && settings.configs !== undefined && Object.hasOwn(settings.configs, use) ? settings.configs[use] : undefined
  return declared === undefined || config === undefined ? undefined : optionsProblem(config, declared, `${path}.config`, settings, () => undefined)
}

/** How a recipe names a plugin that is not configured by its name alone. */
export const PLUGIN_USE = {
  use: { type: 'text', required: true, about: 'npm package name' },
  config: { type: 'record', of: { type: 'json' }, about: 'Options of that package' },
  version: { type: 'text', about: 'Exact version: any other refuses to run' },
} as const satisfies Declarations

function first(checks: readonly (() => OptionProblem | undefined)[]): OptionProblem | undefined {
  for (const check of checks) {
    const problem = check()
    if (problem !== undefined) return problem
  }
  return undefined
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
