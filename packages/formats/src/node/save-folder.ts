import { mkdir, readdir, rename, rm, rmdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { LowbitError, throwIfAborted } from '@lowbit/core'
import { atomicWrite, type ByteStream } from './atomic-write.js'
import { fileError, systemCode } from './file-error.js'
import { safeFolderPath } from './safe-folder-path.js'
import { holdTemporary, sweepOnce, temporaryName } from './temporaries.js'

/** A file of a folder that is written; its chunks are made when its turn comes. */
export interface NewFile {
  /** With forward slashes, below the folder. */
  readonly name: string
  chunks(): ByteStream
}

/**
 * Writes a folder that appears whole or not at all: under a temporary name beside its place, then renamed. An empty folder at the
 * place is replaced; one with something in it is refused, since no rename could take its place at once.
 * @throws LOWBIT_FILE, LOWBIT_ARGUMENT for a name that leads out of the folder, LOWBIT_ABORTED; nothing is left behind.
 */
export async function saveFolder(path: string, files: readonly NewFile[], options: { readonly signal?: AbortSignal } = {}): Promise<void> {
  const parent = dirname(path)
  const names = files.map(({ name }) => safeFolderPath(name))
  await expectFreeFolder(path)
  await sweepOnce(parent)
  const temporary = temporaryName(parent)
  const forget = holdTemporary(temporary)
  try {
    await mkdir(temporary)
    for (const [i, { chunks }] of files.entries()) {
      throwIfAborted(options.signal, path)
      const target = join(temporary, ...names[i])
      await mkdir(dirname(target), { recursive: true })
      await atomicWrite(target, chunks(), options)
    }
    await expectFreeFolder(path)
    await rmdir(path).catch((error: unknown) => {
      if (systemCode(error) !== 'ENOENT') throw error
    })
    await rename(temporary, path)
    forget()
  } catch (cause) {
    await rm(temporary, { recursive: true, force: true })
    forget()
    throw fileError(path, cause, 'could not be written')
  }
}

/** Looks before any work whether a folder can be written at a place. @throws LOWBIT_FILE for a file, or a folder that holds something */
export async function expectFreeFolder(path: string): Promise<void> {
  const entries = await readdir(path).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return []
    if (systemCode(error) === 'ENOTDIR') throw new LowbitError('LOWBIT_FILE', { thing: path, found: 'a file', expected: 'the name of a folder' })
    throw fileError(path, error, 'could not be read')
  })
  if (entries.length > 0) throw new LowbitError('LOWBIT_FILE', { thing: path, found: `a folder with ${entries.length} entries (${entries.slice(0, 3).join(', ')}${entries.length > 3 ? ', …' : ''})`, expected: 'a new name, or an empty folder', fix: `remove ${basename(path)}, or name another folder` })
}
