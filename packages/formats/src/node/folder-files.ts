import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { LowbitError } from '@lowbit/core'
import type { FileSet } from '../bytes/file-set.js'
import { fileError } from './file-error.js'
import { openRangeFile } from './read-range.js'
import { safePath } from './safe-path.js'

export interface FolderFilesOptions {
  /** Other folders that links may lead to. The `blobs` of a Hugging Face cache are trusted by themselves. */
  readonly trustedFolders?: readonly string[]
}

/** The files of a folder on the disk. Names that lead out of it, and links that do, are refused. */
export function folderFiles(folder: string, options: FolderFilesOptions = {}): FileSet {
  const trusted = [...(options.trustedFolders ?? []), ...cacheBlobs(folder)]
  const list = async (): Promise<readonly string[]> => {
    try {
      return (await readdir(folder, { withFileTypes: true })).filter((entry) => entry.isFile() || entry.isSymbolicLink()).map((entry) => entry.name).sort()
    } catch (cause) {
      throw fileError(folder, cause, 'could not be listed')
    }
  }
  return {
    name: folder,
    list,
    async open(name) {
      const names = await list()
      if (!names.includes(name) && !name.includes('/')) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: folder, found: `no file '${name}'`, expected: `one of ${names.slice(0, 20).join(', ')}` })
      return openRangeFile(await safePath(folder, name, trusted))
    },
  }
}

/** In a cache of the hub a snapshot's files are links to `../../blobs`. */
function cacheBlobs(folder: string): string[] {
  const snapshots = dirname(folder)
  const blobs = join(dirname(snapshots), 'blobs')
  return basename(snapshots) === 'snapshots' && existsSync(blobs) ? [blobs] : []
}
