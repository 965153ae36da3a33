import { LowbitError } from '../errors.js'

/**
 * A test for names. `*` stands for any characters, `?` for one; `/…/` is a regular expression; anything else is the name itself.
 * @throws LOWBIT_ARGUMENT if the expression does not parse.
 */
export function nameMatcher(pattern: string): (name: string) => boolean {
  if (pattern.length > 2 && pattern.startsWith('/') && pattern.endsWith('/')) {
    const source = pattern.slice(1, -1)
    // Names of exported models often look like /model/layers.0/: a pattern with no regular-expression mark in it is a name.
    if (/[\\^$*+?()[\]{}|]/.test(source)) {
      try {
        const expression = new RegExp(source)
        return (name) => expression.test(name)
      } catch (cause) {
        throw new LowbitError('LOWBIT_ARGUMENT', { thing: `pattern ${pattern}`, found: 'not a regular expression', expected: 'a name, a name with * and ?, or /expression/', cause })
      }
    }
  }
  if (!/[*?]/.test(pattern)) return (name) => name === pattern
  const expression = new RegExp(`^${pattern.replace(/[\\^$+.()[\]{}|/]/g, '\\$&').replace(/\*/g, '.*').replace(/\?/g, '.')}$`, 's')
  return (name) => expression.test(name)
}

/** True if any pattern matches. */
export function matchesAny(patterns: readonly string[]): (name: string) => boolean {
  const tests = patterns.map(nameMatcher)
  return (name) => tests.some((test) => test(name))
}
