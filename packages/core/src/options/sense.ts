import type { Condition, Declaration } from './declaration.js'
import type { Lookup, OptionProblem } from './problem.js'
import { show } from './show.js'

/**
 * What makes an option of the right type senseless where it stands: a contradiction, or that nothing would use it.
 * @param label - how options are named to the reader
 */
export function senseProblem(name: string, value: unknown, { when, excludes }: Declaration, given: Readonly<Record<string, unknown>>, lookup: Lookup, path: string, label: (name: string) => string = (plain) => plain): OptionProblem | undefined {
  // Not to do something is never in anyone's way.
  if (value === false) return undefined
  for (const other of excludes ?? []) {
    if (Object.hasOwn(given, other) && isGiven(given[other])) return { path, found: `${label(name)} together with ${label(other)}`, expected: 'one of the two', fix: `leave ${label(name)} or ${label(other)} out` }
  }
  for (const [other, condition] of Object.entries(when ?? {})) {
    const actual = lookup(other)
    if (holds(condition, actual)) continue
    const wanted = condition === 'given' ? label(other) : `${label(other)} ${condition.map(String).join(' or ')}`
    return { path, found: `does nothing ${isGiven(actual) ? `with ${label(other)} ${show(actual).replace(/^"(.*)"$/, '$1')}` : `without ${label(other)}`}`, expected: wanted, fix: `leave ${label(name)} out, or give ${wanted}` }
  }
  return undefined
}

function holds(condition: Condition, actual: unknown): boolean {
  // What is not said may be anything: of a recipe without a format the host decides.
  return condition === 'given' ? isGiven(actual) : actual === undefined || condition.some((value) => value === actual)
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== false
}
