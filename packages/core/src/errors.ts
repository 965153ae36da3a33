/** Marks a lowbit error across copies of this package, where `instanceof` would fail. */
const MARK = Symbol.for('lowbit.error')

/** Every code lowbit can throw. Codes are stable: programs may switch on them. */
export const ERROR_CODES = [
  'LOWBIT_ABORTED',
  'LOWBIT_API_VERSION',
  'LOWBIT_ARGUMENT',
  'LOWBIT_BUSY',
  'LOWBIT_CALIBRATION',
  'LOWBIT_CHECKPOINT',
  'LOWBIT_DATA',
  'LOWBIT_DEPENDENCY',
  'LOWBIT_DISPOSED',
  'LOWBIT_DTYPE',
  'LOWBIT_FILE',
  'LOWBIT_FORMAT',
  'LOWBIT_GROUP_SIZE',
  'LOWBIT_INTERNAL',
  'LOWBIT_LIMIT',
  'LOWBIT_NONFINITE',
  'LOWBIT_NOTHING',
  'LOWBIT_NOT_FOUND',
  'LOWBIT_PLUGIN',
  'LOWBIT_RECIPE',
  'LOWBIT_RUINED',
  'LOWBIT_RUNTIME',
  'LOWBIT_SHAPE',
  'LOWBIT_SINGULAR',
  'LOWBIT_UNSUPPORTED',
  'LOWBIT_VERSION',
] as const

export type ErrorCode = (typeof ERROR_CODES)[number]

/** What an error says, apart from its code: each part is a piece of a sentence. */
export interface ErrorParts {
  /** The thing: a site, a file, a tensor, an option. */
  readonly thing: string
  /** What was found there. */
  readonly found: string
  /** What was expected instead. */
  readonly expected?: string
  /** What the reader can do about it. */
  readonly fix?: string
  /** The error underneath, if any. */
  readonly cause?: unknown
}

/**
 * The one error lowbit throws.
 *
 * The message reads `thing: found; expected …; fix`. Recognise it with {@link isLowbitError}, not `instanceof`:
 * two copies of this package may be installed.
 */
export class LowbitError extends Error {
  readonly [MARK] = true
  override readonly name = 'LowbitError'
  readonly code: ErrorCode
  readonly parts: ErrorParts

  constructor(code: ErrorCode, parts: ErrorParts) {
    const expected = parts.expected === undefined ? '' : `; expected ${parts.expected}`
    const fix = parts.fix === undefined ? '' : `; ${parts.fix}`
    super(`${code}: ${parts.thing}: ${parts.found}${expected}${fix}`, parts.cause === undefined ? undefined : { cause: parts.cause })
    this.code = code
    this.parts = parts
  }
}

/** True for a {@link LowbitError} of this or any other copy of core. With `code`, of that code only. */
export function isLowbitError(error: unknown, code?: ErrorCode): error is LowbitError {
  return (
    typeof error === 'object' &&
    error !== null &&
    MARK in error &&
    (code === undefined || ('code' in error && error.code === code))
  )
}

/** Throws `LOWBIT_ABORTED` if the signal has fired; call it between steps of long work. */
export function throwIfAborted(signal: AbortSignal | undefined, thing: string): void {
  if (signal?.aborted) {
    throw new LowbitError('LOWBIT_ABORTED', { thing, found: 'stopped on request', cause: signal.reason })
  }
}
