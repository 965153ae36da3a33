import { LowbitError } from '../errors.js'
import { linearPattern } from './linear-pattern.js'

/** Longer patterns are no names. */
const MAX_PATTERN = 4096

/**
 * A test for names. `*` stands for any characters, `?` for one; `/…/` is a regular expression; anything else is the name itself.
 * Every pattern takes time in proportion to its length and the name's at most: patterns come from files and from users.
 * @throws LOWBIT_ARGUMENT if the expression does not parse.
 */
export function nameMatcher(pattern: string): (name: string) => boolean {
  if (pattern.length > MAX_PATTERN) throw new LowbitError('LOWBIT_ARGUMENT', { thing: `pattern ${pattern.slice(0, 60)}…`, found: `${pattern.length} characters`, expected: `at most ${MAX_PATTERN}` })
  if (pattern.length > 2 && pattern.startsWith('/') && pattern.endsWith('/')) {
    const source = pattern.slice(1, -1)
    // Names of exported models often look like /model/layers.0/: a pattern with no regular-expression mark in it is a name.
    if (/[\\^$*+?()[\]{}|]/.test(source)) return linearPattern(source)
  }
  if (!/[*?]/.test(pattern)) return (name) => name === pattern
  return (name) => globMatches(pattern, name)
}

/** Where it fails, only the last `*` takes one character more: what earlier ones took need never be tried again. */
function globMatches(pattern: string, name: string): boolean {
  let p = 0
  let star = -1
  let resume = 0
  for (let n = 0; n < name.length; ) {
    if (pattern[p] === '*') {
      star = p++
      resume = n
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === name[n])) {
      p++
      n++
    } else if (star >= 0) {
      p = star + 1
      n = ++resume
    } else return false
  }
  while (pattern[p] === '*') p++
  return p === pattern.length
}

/** True if any pattern matches. */
export function matchesAny(patterns: readonly string[]): (name: string) => boolean {
  const tests = patterns.map(nameMatcher)
  return (name) => tests.some((test) => test(name))
}
