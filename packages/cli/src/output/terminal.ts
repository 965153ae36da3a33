import type { OnProgress } from '@lowbit/core'
import { interruptionSignal } from './interruption.js'
import { progressBar } from './progress.js'
import { printLine } from './streams.js'

/** Where a command writes, and how it is stopped. */
export interface Terminal {
  /** A line on standard output. */
  print(text: string): void
  /** A line on standard error. */
  note(text: string): void
  readonly onProgress: OnProgress
  /** Takes the progress bar away: the work is over. */
  stop(): void
  /** Fires on Ctrl-C and on the other signals that end a process. */
  readonly signal: AbortSignal
}

/** The process's own streams; a signal stops the work at its next step, a second one at once. */
export function processTerminal(options: { readonly quiet?: boolean } = {}): Terminal {
  const quiet = options.quiet === true
  const bar = progressBar(quiet ? false : process.stderr.isTTY)
  const signal = interruptionSignal()
  const note = (text: string): void => {
    if (!quiet) process.stderr.write(`${text}\n`)
  }
  signal.addEventListener('abort', () => {
    bar.stop()
    note('Stopping at the next step; a second signal stops at once.')
  }, { once: true })
  return { print: printLine, note, onProgress: bar.onProgress, stop: bar.stop, signal }
}
