import { LowbitError } from '../errors.js'
import type { Schema } from './schema.js'

/** Deeper values are refused before the stack is. */
const MAX_DEPTH = 64

/**
 * Checks a parsed JSON value against a schema.
 * @throws LOWBIT_RECIPE naming the path, what stands there and what is expected.
 */
export function validate(value: unknown, schema: Schema, path: string, depth = 0): void {
  const problem = findProblem(value, schema, path, depth)
  if (problem !== undefined) throw new LowbitError('LOWBIT_RECIPE', problem)
}

interface Problem {
  readonly thing: string
  readonly found: string
  readonly expected: string
}

function findProblem(value: unknown, schema: Schema, path: string, depth: number): Problem | undefined {
  const wrong = (expected: string): Problem => ({ thing: path, found: show(value), expected })
  if (depth > MAX_DEPTH) return { thing: path, found: `nesting deeper than ${MAX_DEPTH}`, expected: 'a flatter value' }
  if (schema.anyOf !== undefined) {
    const problems = schema.anyOf.map((s) => findProblem(value, s, path, depth + 1))
    if (problems.includes(undefined)) return undefined
    // A problem inside the value says more than "none of these": show the one that got furthest.
    return problems.filter((p) => p !== undefined).sort((a, b) => b.thing.length - a.thing.length)[0]
  }
  if (schema.type !== undefined && !hasType(value, schema.type)) return wrong(withArticle(schema.type))
  if (schema.enum !== undefined && !schema.enum.some((e) => e === value)) return wrong(`one of ${schema.enum.join(', ')}`)
  if (schema.minimum !== undefined && typeof value === 'number' && value < schema.minimum) return wrong(`at least ${schema.minimum}`)
  if (schema.pattern !== undefined && typeof value === 'string' && !new RegExp(schema.pattern).test(value)) return wrong(`text like ${schema.pattern}`)
  if (Array.isArray(value) && schema.items !== undefined) {
    for (const [i, item] of value.entries()) {
      const problem = findProblem(item, schema.items, `${path}[${i}]`, depth + 1)
      if (problem !== undefined) return problem
    }
  }
  if (hasType(value, 'object')) return objectProblem(value as Readonly<Record<string, unknown>>, schema, path, depth)
  return undefined
}

function objectProblem(value: Readonly<Record<string, unknown>>, schema: Schema, path: string, depth: number): Problem | undefined {
  for (const key of schema.required ?? []) {
    if (!Object.hasOwn(value, key)) return { thing: `${path}.${key}`, found: 'nothing', expected: schema.properties?.[key]?.description ?? 'a value' }
  }
  for (const [key, item] of Object.entries(value)) {
    const known = schema.properties !== undefined && Object.hasOwn(schema.properties, key) ? schema.properties[key] : undefined
    const rule = known ?? schema.additionalProperties ?? true
    if (rule === false) return { thing: `${path}.${key}`, found: 'an unknown property', expected: `one of ${Object.keys(schema.properties ?? {}).join(', ')}` }
    const problem = rule === true ? undefined : findProblem(item, rule, `${path}.${key}`, depth + 1)
    if (problem !== undefined) return problem
  }
  return undefined
}

function hasType(value: unknown, type: NonNullable<Schema['type']>): boolean {
  switch (type) {
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value)
    case 'array':
      return Array.isArray(value)
    case 'null':
      return value === null
    case 'integer':
      return Number.isInteger(value)
    default:
      return typeof value === type
  }
}

function withArticle(type: string): string {
  return `${/^[aeio]/.test(type) ? 'an' : 'a'} ${type}`
}

function show(value: unknown): string {
  const text = JSON.stringify(value)
  if (text === undefined) return 'nothing'
  return text.length > 60 ? `${text.slice(0, 57)}…` : text
}
