import type { LowbitError } from '@lowbit/core'
import { fileError } from '@lowbit/formats/node'

/** Watches the streams that a command prints to: a reader that went away is no failure, a full disk is. */
export interface StreamGuard {
  /** Waits until all is written. @returns what went wrong, if the reader did not simply leave */
  settle(): Promise<LowbitError | undefined>
}

/** Without it, the first line to a closed pipe would end the process with a stack trace. */
export function guardStreams(): StreamGuard {
  const { stdout, stderr } = process
  let failure: unknown
  const note = (error: unknown): void => {
    failure ??= error
  }
  const ignore = (): void => {}
  stdout.on('error', note)
  // There is no place left to tell it.
  stderr.on('error', ignore)
  return {
    async settle() {
      if (failure === undefined && stdout.writableLength > 0) {
        await new Promise<void>((resolve) => {
          for (const event of ['drain', 'error', 'close']) stdout.once(event, () => resolve())
        })
      }
      // Errors of the last line come with the next turn.
      await new Promise((resolve) => setImmediate(resolve))
      stdout.off('error', note)
      stderr.off('error', ignore)
      if (failure === undefined || isClosedPipe(failure)) return undefined
      return fileError('standard output', failure, 'could not be written')
    },
  }
}

function isClosedPipe(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED' || error.code === 'EOF')
}

/** A line on standard output. What goes wrong is told to the {@link guardStreams}. */
export function printLine(text: string): void {
  try {
    process.stdout.write(`${text}\n`)
  } catch (error) {
    // Files are written at once, and fail so.
    process.stdout.emit('error', error)
  }
}
