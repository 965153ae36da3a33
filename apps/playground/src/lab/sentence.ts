import { isLowbitError } from '@lowbit/core'
import type { FailureSentence } from './messages.js'

/** Words of engines for memory that is not there. */
const OUT_OF_MEMORY = /out of memory|allocation failed|memory access out of bounds|cannot enlarge memory|Aborted\(|bad_alloc|Array buffer allocation|Invalid (typed )?array length/i

/** An error as a sentence that says what to do. */
export function sentenceOf(error: unknown): FailureSentence {
  const text = error instanceof Error ? error.message : String(error)
  if (isMemory(error, text)) return { code: 'LOWBIT_LIMIT', message: 'This tab has no more memory for the model. Close other tabs and try again, take fewer or smaller calibration samples, or run the same recipe with the command, which has all of the machine: `lowbit run recipe.json`.' }
  if (isLowbitError(error)) return { code: error.code, message: text.replace(/^LOWBIT_[A-Z_]+: /, '') }
  return { message: text }
}

function isMemory(error: unknown, text: string): boolean {
  if (error instanceof RangeError && OUT_OF_MEMORY.test(text)) return true
  return isLowbitError(error, 'LOWBIT_RUNTIME') ? OUT_OF_MEMORY.test(text) : !isLowbitError(error) && OUT_OF_MEMORY.test(text)
}
