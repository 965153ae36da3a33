import { appendFile } from 'node:fs/promises'
import { fileError } from './file-error.js'

/** Adds a line to a log: a file that grows, and is whole after every line. @throws LOWBIT_FILE. */
export async function appendLine(path: string, line: string): Promise<void> {
  try {
    await appendFile(path, `${line}\n`)
  } catch (cause) {
    throw fileError(path, cause, 'could not be written')
  }
}
