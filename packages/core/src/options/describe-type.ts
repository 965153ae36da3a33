import type { Declaration, ValueType } from './declaration.js'

/** The values of an option in words, for messages and help: `a whole number of at least 1`. */
export function describeType(type: ValueType): string {
  switch (type.type) {
    case 'boolean':
      return 'true or false'
    case 'null':
      return 'null'
    case 'json':
      return 'any JSON'
    case 'scheme':
      return 'a scheme, such as int4({ group: 32 })'
    case 'number':
    case 'integer':
      return describeNumber(type)
    case 'text':
      return type.named ?? (type.pattern === undefined ? 'text' : `text like ${type.pattern}`)
    case 'choice':
      return `one of ${type.values.join(', ')}`
    case 'list':
      return `a list${type.length === undefined ? '' : ` of ${type.length}`}, each ${describeType(type.of)}`
    case 'either':
      return type.of.map(describeType).join(', or ')
    case 'options':
      return `an object of ${Object.keys(type.options).join(', ')}`
    case 'record':
      return `an object, each value ${describeType(type.of)}`
    case 'plugin':
      return `${withArticle(type.kind)} plugin`
    case 'object':
      return `an object with ${type.has.join(', ')}`
    case 'function':
      return 'a function'
  }
}

function describeNumber({ type, minimum, maximum, above, below, multipleOf }: Extract<ValueType, { readonly type: 'number' | 'integer' }>): string {
  const kind = type === 'integer' ? (multipleOf === undefined || multipleOf === 1 ? 'a whole number' : multipleOf === 2 ? 'an even number' : `a multiple of ${multipleOf}`) : 'a number'
  const limits = [
    ...(minimum === undefined ? [] : [`at least ${minimum}`]),
    ...(above === undefined ? [] : [`above ${above}`]),
    ...(maximum === undefined ? [] : [`at most ${maximum}`]),
    ...(below === undefined ? [] : [`below ${below}`]),
  ]
  if (limits.length === 0) return kind
  return `${kind}${limits[0]?.startsWith('at') === true ? ' of' : ''} ${limits.join(' and ')}`
}

/** `(default 32)`, or what happens otherwise, or nothing. */
export function describeDefault({ default: value, otherwise }: Pick<Declaration, 'default' | 'otherwise'>): string {
  if (otherwise !== undefined) return ` (default: ${otherwise})`
  if (value === undefined || value === false) return ''
  return ` (default ${typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value)})`
}

export function withArticle(noun: string): string {
  return `${/^[aeio]/.test(noun) ? 'an' : 'a'} ${noun}`
}
