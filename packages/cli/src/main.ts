import { CommanderError } from 'commander'
import { isLowbitError, type ErrorCode } from '@lowbit/core'
import { createProgram } from './program.js'

/** Errors of the asking rather than of the work: exit code 2. */
const USAGE: readonly ErrorCode[] = ['LOWBIT_ARGUMENT', 'LOWBIT_RECIPE']

/** Runs the command line. Exit codes: 0 done, 1 failed, 2 asked in a way that cannot be understood. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    await createProgram().parseAsync([...args], { from: 'user' })
    return 0
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    if (isLowbitError(error)) {
      process.stderr.write(`${error.message}\n`)
      return USAGE.includes(error.code) ? 2 : 1
    }
    process.stderr.write(`LOWBIT_INTERNAL: lowbit failed in a way it did not foresee; please report this\n${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
    return 1
  }
}
