import type { OnProgress } from '@lowbit/core'
import { progressBar } from './progress.js'

/** Where a command writes, and how it is stopped. */
export interface Terminal {
  /** A line on standard output. */
  print(text: string): void
  /** A line on standard error. */
  note(text: string): void
  readonly onProgress: OnProgress
  /** Takes the progress bar away and gives Ctrl-C back: the work is over. */
  stop(): void
  /** Fires on Ctrl-C. */
  readonly signal: AbortSignal
}

/** The process's own streams; Ctrl-C stops the work at its next step, a second one at once. */
export function processTerminal(options: { readonly quiet?: boolean } = {}): Terminal {
  const controller = new AbortController()
  const interrupt = (): void => {
    if (controller.signal.aborted) process.exit(1)
    process.stderr.write('\nStopping at the next step; press Ctrl-C again to stop at once.\n')
    controller.abort(new Error('interrupted'))
  }
  process.on('SIGINT', interrupt)
  const bar = progressBar(options.quiet === true ? false : process.stderr.isTTY)
  return {
    print: (text) => process.stdout.write(`${text}\n`),
    note: (text) => {
      if (options.quiet !== true) process.stderr.write(`${text}\n`)
    },
    onProgress: bar.onProgress,
    stop() {
      bar.stop()
      process.off('SIGINT', interrupt)
    },
    signal: controller.signal,
  }
}
