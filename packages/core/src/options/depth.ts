import { LowbitError, type ErrorCode } from '../errors.js'

/** Deeper values are refused before a stack is. */
export const MAX_DEPTH = 64

/**
 * Refuses values that are nested too deeply to be walked through or written as JSON; circular ones are.
 * @throws with `code` naming `thing`
 */
export function requireShallow(value: unknown, thing: string, code: ErrorCode = 'LOWBIT_ARGUMENT'): void {
  const stack: { readonly value: unknown; readonly depth: number }[] = [{ value, depth: 0 }]
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    if (typeof at.value !== 'object' || at.value === null || ArrayBuffer.isView(at.value)) continue
    if (at.depth > MAX_DEPTH) throw new LowbitError(code, { thing, found: `nesting deeper than ${MAX_DEPTH}`, expected: 'a flatter value' })
    for (const inner of Object.values(at.value)) stack.push({ value: inner, depth: at.depth + 1 })
  }
}
