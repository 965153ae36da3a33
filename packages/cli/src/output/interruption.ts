import { LowbitError } from '@lowbit/core'
import { abandonTemporaries } from '@lowbit/formats/node'

/** What a shell expects of a command that a signal ended: 128 and the signal's number. */
const EXIT_CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const

type EndingSignal = keyof typeof EXIT_CODES

const SIGNALS: readonly EndingSignal[] = ['SIGHUP', 'SIGINT', 'SIGTERM']

/** Milliseconds that the work has to come to its next step, where it can stop in order. */
const GRACE = 2000

/** How a command is told to end. */
export interface Interruption {
  /** Fires at the first signal. */
  readonly signal: AbortSignal
  /** The exit code for the signal that came, if one did. */
  exitCode(): number | undefined
  /** Gives the signals back to the process. */
  stop(): void
}

let current: Interruption | undefined

/** The signal of the command that runs; one that never fires outside of a command. */
export function interruptionSignal(): AbortSignal {
  return current?.signal ?? new AbortController().signal
}

/**
 * Takes the signals that end a process. At the first one the work stops at its next step and cleans up; what does not come to a next
 * step in time, and a second signal, ends the process at once, without its temporary files.
 */
export function watchSignals(): Interruption {
  const controller = new AbortController()
  let received: EndingSignal | undefined
  let timer: NodeJS.Timeout | undefined
  const leave = (): void => {
    abandonTemporaries()
    process.exit(received === undefined ? 1 : EXIT_CODES[received])
  }
  const interrupt = (name: EndingSignal): void => {
    if (received !== undefined) return leave()
    received = name
    timer = setTimeout(leave, GRACE).unref()
    controller.abort(new LowbitError('LOWBIT_ABORTED', { thing: 'the command', found: `stopped by ${name}` }))
  }
  for (const name of SIGNALS) process.on(name, interrupt)
  const made: Interruption = {
    signal: controller.signal,
    exitCode: () => (received === undefined ? undefined : EXIT_CODES[received]),
    stop() {
      clearTimeout(timer)
      for (const name of SIGNALS) process.off(name, interrupt)
      if (current === made) current = undefined
    },
  }
  current = made
  return made
}
