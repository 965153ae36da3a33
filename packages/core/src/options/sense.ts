import type { Condition, Declaration } from './declaration.js'
import type { Lookup, OptionProblem } from './problem.js'
import { show } from './show.js'

/** What makes an option of the right type senseless where it stands: a contradiction, or that nothing would use it. */
export function senseProblem(name: string, value: unknown, { when, excludes }: Declaration, given: Readonly<Record<string, unknown>>, lookup: Lookup, path: string): OptionProblem | undefined {
  // Not to do something is never in anyone's way.
  if (value === false) return undefined
  for (const other of excludes ?? []) {
    if (Object.hasOwn(given, other) && isGiven(given[other])) return { path, found: `${name} together with ${other}`, expected: 'one of the two', fix: `leave ${name} or ${other} out` }
  }
  for (const [other, condition] of Object.entries(when ?? {})) {
    const actual = lookup(other)
    if (holds(condition, actual)) continue
    const wanted = condition === 'given' ? other : `${other} ${condition.map(String).join(' or ')}`
    return { path, found: `does nothing ${actual === undefined ? `without ${other}` : `with ${other} ${typeof actual === 'object' ? show(actual) : String(actual)}`}`, expected: wanted, fix: `leave ${name} out, or give ${wanted}` }
  }
  return undefined
}

function holds(condition: Condition, actual: unknown): boolean {
  return condition === 'given' ? isGiven(actual) : condition.some((value) => value === actual)
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== false
}
