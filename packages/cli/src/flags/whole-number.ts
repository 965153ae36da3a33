import { LowbitError } from '@lowbit/core'

/** @throws LOWBIT_ARGUMENT unless the text is a whole number of at least `least`. */
export function wholeNumber(flag: string, text: string, least = 1): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isSafeInteger(value) || value < least) {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: flag, found: JSON.stringify(text), expected: `a whole number of at least ${least}` })
  }
  return value
}
