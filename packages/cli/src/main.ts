import { reportFailure } from './output/failure.js'
import { watchSignals } from './output/interruption.js'
import { guardStreams } from './output/streams.js'
import { createProgram } from './program.js'

/**
 * Runs the command line. Exit codes: 0 done, 1 failed, 2 asked in a way that cannot be understood, 128 and its number for a signal
 * (130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP).
 */
export async function main(args: readonly string[]): Promise<number> {
  const streams = guardStreams()
  const interruption = watchSignals()
  const json = asksForJson(args)
  let code: number
  try {
    await createProgram({ silent: json }).parseAsync([...args], { from: 'user' })
    code = 0
  } catch (error) {
    code = interruption.exitCode() !== undefined && !json ? tellStopped() : reportFailure(error, json)
  }
  const unwritten = await streams.settle()
  if (unwritten !== undefined) code = reportFailure(unwritten, false)
  interruption.stop()
  return interruption.exitCode() ?? code
}

function tellStopped(): number {
  process.stderr.write('Stopped. What is finished of a calibrated run is kept: the same command goes on from there.\n')
  return 1
}

function asksForJson(args: readonly string[]): boolean {
  const end = args.indexOf('--')
  return (end < 0 ? args : args.slice(0, end)).includes('--json')
}
