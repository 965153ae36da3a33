import { CommanderError } from 'commander'
import { isLowbitError, type ErrorCode } from '@lowbit/core'
import { printLine } from './streams.js'

/** Errors of the asking rather than of the work: exit code 2. */
const USAGE: readonly ErrorCode[] = ['LOWBIT_ARGUMENT', 'LOWBIT_RECIPE']

/** The command did its work and said what there is to say; the exit code is 1 all the same. */
export class SaidAlready extends Error {}

/** What `--json` prints where a command fails. */
export interface FailureJson {
  readonly error: {
    readonly code: ErrorCode
    readonly message: string
    readonly thing?: string
    readonly found?: string
    readonly expected?: string
    readonly fix?: string
  }
}

/** Tells why a command failed: a line on standard error, or JSON where JSON was asked for. @returns the exit code */
export function reportFailure(error: unknown, json: boolean): number {
  if (error instanceof SaidAlready) return 1
  if (error instanceof CommanderError) {
    // Help and the version come this way too, and commander has said the rest.
    if (error.exitCode === 0) return 0
    if (json) printJson({ error: { code: 'LOWBIT_ARGUMENT', message: error.message.replace(/^error: /, '') } })
    return 2
  }
  if (isLowbitError(error)) {
    const { thing, found, expected, fix } = error.parts
    if (json) printJson({ error: { code: error.code, message: error.message, thing, found, ...(expected === undefined ? {} : { expected }), ...(fix === undefined ? {} : { fix }) } })
    else process.stderr.write(`${error.message}\n`)
    return USAGE.includes(error.code) ? 2 : 1
  }
  const words = error instanceof Error ? (error.stack ?? error.message) : String(error)
  const message = 'LOWBIT_INTERNAL: lowbit failed in a way it did not foresee; please report this'
  if (json) printJson({ error: { code: 'LOWBIT_INTERNAL', message, found: words } })
  else process.stderr.write(`${message}\n${words}\n`)
  return 1
}

function printJson(failure: FailureJson): void {
  printLine(JSON.stringify(failure, null, 2))
}
