import type { OnProgress } from '@lowbit/core'
import { progressBar } from './progress.js'

/** Where a command writes, and how it is stopped. */
export interface Terminal {
  /** A line on standard output. */
  print(text: string): void
  /** A line on standard error. */
  note(text: string): void
  readonly onProgress: OnProgress
  /** Takes the progress bar away. */
  stop(): void
  /** Fires on Ctrl-C. */
  readonly signal: AbortSignal
}

/** The process's own streams; Ctrl-C stops the work at its next step, a second one at once. */
export function processTerminal(options: { readonly quiet?: boolean } = {}): Terminal {
  const controller = new AbortController()
  process.once('SIGINT', () => {
    controller.abort(new Error('interrupted'))
    process.once('SIGINT', () => process.exit(1))
  })
  const bar = progressBar(options.quiet === true ? false : process.stderr.isTTY)
  return {
    print: (text) => process.stdout.write(`${text}\n`),
    note: (text) => {
      if (options.quiet !== true) process.stderr.write(`${text}\n`)
    },
    onProgress: bar.onProgress,
    stop: bar.stop,
    signal: controller.signal,
  }
}
