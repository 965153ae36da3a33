import { INTEGER_CODES, isCodeType, TABLE_CODES, type CodeType, type Scheme, type SchemeOptions } from '../scheme.js'
import type { Declarations, DeclarationsOf } from './declaration.js'
import type { CheckSettings, Lookup, OptionProblem } from './problem.js'
import { show } from './show.js'
import { suggest } from './suggest.js'

const CODE_TYPES = [...Object.keys(INTEGER_CODES), ...Object.keys(TABLE_CODES)]

/** Options of `int4` and its kin. */
export const SCHEME_OPTIONS = {
  group: { type: 'integer', minimum: 1, excludes: ['perTensor'], otherwise: 'one scale an output channel', about: 'weights along K that share a scale' },
  perTensor: { type: 'boolean', default: false, excludes: ['group'], about: 'one scale for the whole weight' },
  symmetric: { type: 'boolean', otherwise: 'true for signed types', about: 'no zero points' },
  reduceRange: { type: 'boolean', about: 'use half of the code range, safe on x86 without VNNI' },
} as const satisfies DeclarationsOf<SchemeOptions>

/** A weight scheme as a recipe writes it. */
export interface RecipeScheme extends SchemeOptions {
  readonly dtype: CodeType
  readonly zeroPoint?: 'integer' | 'float'
}

/** What a recipe writes of a weight scheme. */
export const RECIPE_SCHEME = {
  dtype: { type: 'choice', values: CODE_TYPES, required: true, about: 'code type' },
  ...SCHEME_OPTIONS,
  zeroPoint: { type: 'choice', values: ['integer', 'float'], about: 'float: zero points need not be whole numbers' },
} as const satisfies DeclarationsOf<RecipeScheme>

type CheckObject = (given: unknown, declarations: Declarations, path: string, settings: CheckSettings, lookup: Lookup) => OptionProblem | undefined

/** What is wrong with a scheme, in the form of the API or of a recipe. */
export function schemeProblem(value: unknown, path: string, settings: CheckSettings, lookup: Lookup, checkObject: CheckObject): OptionProblem | undefined {
  if (settings.form === 'json') return checkObject(value, RECIPE_SCHEME, path, settings, lookup)
  const wrong = (fix?: string): OptionProblem => ({ path, found: show(value), expected: 'a scheme, such as int4({ group: 32 })', ...(fix === undefined ? {} : { fix }) })
  if (typeof value === 'function') return wrong(`call it: ${value.name || 'the function'}()`)
  if (typeof value === 'string') {
    const near = isCodeType(value) ? value : suggest(value, CODE_TYPES)
    return wrong(near === undefined ? undefined : `write ${BUILDERS.includes(near) ? `${near}()` : `weightScheme('${near}')`}`)
  }
  if (typeof value !== 'object' || value === null) return wrong()
  if (!('dtype' in value) || typeof value.dtype !== 'string' || !isCodeType(value.dtype)) return wrong(`give it a dtype: ${CODE_TYPES.join(', ')}`)
  if (!('granularity' in value) || !isGranularity(value.granularity)) return wrong("make it with int4({ group: 32 }) or weightScheme('int4', { group: 32 })")
  if (!('symmetric' in value) || typeof value.symmetric !== 'boolean') return wrong('say whether it is symmetric')
  const unknown = Object.keys(value).find((key) => !SCHEME_KEYS.includes(key))
  if (unknown === undefined) return undefined
  const near = suggest(unknown, SCHEME_KEYS)
  return { path: `${path}.${unknown}`, found: 'an unknown option', expected: `one of ${SCHEME_KEYS.join(', ')}`, ...(near === undefined ? {} : { fix: `did you mean ${near}?` }) }
}

/** Code types with a function of their own. */
const BUILDERS: readonly string[] = ['int8', 'int4', 'int3', 'int2', 'uint4', 'uint8']

const SCHEME_KEYS: readonly string[] = ['dtype', 'granularity', 'symmetric', 'zeroPoint', 'reduceRange'] satisfies readonly (keyof Scheme)[]

function isGranularity(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || !('kind' in value)) return false
  const isAxis = 'axis' in value && Number.isInteger(value.axis)
  switch (value.kind) {
    case 'tensor':
    case 'token':
      return true
    case 'channel':
      return isAxis
    case 'group':
      return isAxis && 'size' in value && Number.isInteger(value.size) && Number(value.size) >= 1
    default:
      return false
  }
}
