import type { Declaration, Declarations, ValueType } from '../options/declaration.js'
import { PLUGIN_USE } from '../options/check-options.js'
import { describeDefault } from '../options/describe-type.js'
import { RECIPE_SCHEME } from '../options/scheme-options.js'
import { recipeOptions, type RecipeUnion } from './recipe-options.js'

/** The part of JSON Schema (2020-12) that the recipe's schema is written in. */
export interface Schema {
  readonly type?: 'object' | 'array' | 'string' | 'number' | 'integer' | 'boolean' | 'null'
  readonly description?: string
  readonly default?: unknown
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: boolean | Schema
  readonly items?: Schema
  readonly minItems?: number
  readonly maxItems?: number
  readonly enum?: readonly (string | number | boolean)[]
  readonly minimum?: number
  readonly maximum?: number
  readonly exclusiveMinimum?: number
  readonly exclusiveMaximum?: number
  readonly multipleOf?: number
  readonly pattern?: string
  readonly anyOf?: readonly Schema[]
}

/** JSON Schema of a recipe: the form that the declarations describe. Which options need which others is checked when it is read. */
export function recipeSchema(union: RecipeUnion = {}): Schema {
  return { ...optionsSchema(recipeOptions(union), union), description: 'A quantization run that can be committed, pinned and repeated byte for byte' }
}

/** {@link recipeSchema} of what core knows by itself. */
export const RECIPE_SCHEMA: Schema = /* @__PURE__ */ recipeSchema()

function optionsSchema(declarations: Declarations, union: RecipeUnion): Schema {
  const json = Object.entries(declarations).filter(([, { type }]) => type !== 'object' && type !== 'function')
  const required = json.filter(([, d]) => d.required === true).map(([name]) => name)
  return {
    type: 'object',
    properties: Object.fromEntries(json.map(([name, d]) => [name, optionSchema(d, union)])),
    ...(required.length === 0 ? {} : { required }),
    additionalProperties: false,
  }
}

function optionSchema(declaration: Declaration, union: RecipeUnion): Schema {
  const { about, default: standard, otherwise } = declaration
  return { ...valueSchema(declaration, union), description: `${about}${standard === undefined ? describeDefault({ ...(otherwise === undefined ? {} : { otherwise }) }) : ''}`, ...(standard === undefined ? {} : { default: standard }) }
}

function valueSchema(type: ValueType, union: RecipeUnion): Schema {
  switch (type.type) {
    case 'boolean':
    case 'null':
      return { type: type.type }
    case 'json':
    case 'object':
    case 'function':
      return {}
    case 'number':
    case 'integer':
      return numberSchema(type)
    case 'text':
      return { type: 'string', ...(type.pattern === undefined ? {} : { pattern: type.pattern }) }
    case 'choice':
      return { enum: type.values }
    case 'list':
      return { type: 'array', items: valueSchema(type.of, union), ...(type.length === undefined ? {} : { minItems: type.length, maxItems: type.length }) }
    case 'either':
      return { anyOf: type.of.map((t) => valueSchema(t, union)) }
    case 'options':
      return optionsSchema(type.options, union)
    case 'record':
      return { type: 'object', additionalProperties: type.of.type === 'json' ? true : valueSchema(type.of, union) }
    case 'scheme':
      return optionsSchema(RECIPE_SCHEME, union)
    case 'plugin':
      return pluginSchema(union)
  }
}

function numberSchema({ type, minimum, maximum, above, below, multipleOf }: Extract<ValueType, { readonly type: 'number' | 'integer' }>): Schema {
  const limits = type === 'integer' ? { minimum: minimum ?? Number.MIN_SAFE_INTEGER, maximum: maximum ?? Number.MAX_SAFE_INTEGER } : { minimum, maximum }
  const all = { ...limits, exclusiveMinimum: above, exclusiveMaximum: below, multipleOf }
  return { type, ...Object.fromEntries(Object.entries(all).filter(([, v]) => v !== undefined)) }
}

/** A name; a name with what is declared for it; or any other name with any configuration. */
function pluginSchema(union: RecipeUnion): Schema {
  const known = Object.entries(union.configs ?? {})
  const any: Schema = optionsSchema(PLUGIN_USE, {})
  const others = known.length === 0 ? {} : { pattern: `^(?!(?:${known.map(([name]) => name).join('|')})$)` }
  return {
    anyOf: [
      { type: 'string' },
      // Configurations hold no plugins with configurations of their own: the schema would not end.
      ...known.map(([name, declarations]) => ({ ...any, properties: { ...any.properties, use: { enum: [name] }, config: optionsSchema(declarations, {}) } })),
      { ...any, properties: { ...any.properties, use: { ...any.properties?.['use'], ...others } } },
    ],
  }
}
