import { stat } from 'node:fs/promises'
import { changed, stampOf } from './file-stamp.js'
import { fileError } from './file-error.js'

/** Files as they were when a run began. */
export interface FileWatch {
  /** @throws LOWBIT_FILE naming a file that was changed, replaced or removed since */
  checkUnchanged(): Promise<void>
}

/** Remembers files by device, inode, size and time of change. @throws LOWBIT_FILE for one that is not there */
export async function watchFiles(paths: readonly string[]): Promise<FileWatch> {
  const stamps = new Map<string, string>()
  for (const path of paths) {
    const found = await stat(path, { bigint: true }).catch((cause: unknown) => {
      throw fileError(path, cause, 'could not be read')
    })
    stamps.set(path, stampOf(found))
  }
  return {
    async checkUnchanged() {
      for (const [path, stamp] of stamps) {
        const found = await stat(path, { bigint: true }).catch(() => undefined)
        if (found === undefined || stampOf(found) !== stamp) throw changed(path)
      }
    },
  }
}
