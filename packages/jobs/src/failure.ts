import { ERROR_CODES, isLowbitError, LowbitError, type ErrorCode, type ErrorParts } from '@lowbit/core'

/** An error as a value that crosses threads. */
export type Failure = { readonly code: ErrorCode; readonly parts: ErrorParts } | { readonly message: string }

export function failureOf(error: unknown): Failure {
  if (!isLowbitError(error)) return { message: error instanceof Error ? error.message : String(error) }
  const { thing, found, expected, fix } = error.parts
  return { code: error.code, parts: { thing, found, ...(expected === undefined ? {} : { expected }), ...(fix === undefined ? {} : { fix }) } }
}

export function errorOf(failure: Failure): Error {
  return 'code' in failure && ERROR_CODES.includes(failure.code) ? new LowbitError(failure.code, failure.parts) : new Error('message' in failure ? failure.message : String(failure.code))
}

/** The error of work that its signal stopped. */
export function aborted(thing: string, reason: unknown): LowbitError {
  return new LowbitError('LOWBIT_ABORTED', { thing, found: 'stopped on request', cause: reason })
}
