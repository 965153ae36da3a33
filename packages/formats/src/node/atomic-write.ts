import { randomBytes } from 'node:crypto'
import { open, realpath, rename, stat, unlink, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { LowbitError, throwIfAborted } from '@lowbit/core'

/** Bytes to write: pieces, as they come. */
export type ByteStream = Iterable<Uint8Array> | AsyncIterable<Uint8Array>

export interface AtomicWriteOptions {
  readonly signal?: AbortSignal
}

/**
 * Writes a file that appears whole or not at all: a temporary file beside the target, synced to the disk, then renamed.
 * What stood at the target stays untouched until then, also if the process is killed. A symbolic link is followed.
 * @throws LOWBIT_FILE if the folder, the disk or the target does not allow it, LOWBIT_ABORTED; nothing is left behind.
 */
export async function atomicWrite(path: string, chunks: ByteStream, options: AtomicWriteOptions = {}): Promise<void> {
  const staged = await stageFile(path, chunks, options)
  await staged.commit()
}

/** A file that is written and synced, but does not have its name yet. */
export interface StagedFile {
  readonly size: number
  /** Gives the file its name, replacing what had it; `as` is another name in the same folder. */
  commit(as?: string): Promise<void>
  /** Removes the temporary file. */
  discard(): Promise<void>
}

/** The first half of {@link atomicWrite}, for files that must appear together. */
export async function stageFile(path: string, chunks: ByteStream, options: AtomicWriteOptions = {}): Promise<StagedFile> {
  const target = await resolveTarget(path)
  const temporary = join(dirname(target), `.${basename(target)}.${process.pid}-${randomBytes(4).toString('hex')}.tmp`)
  const discard = async (): Promise<void> => {
    await unlink(temporary).catch(() => undefined)
  }
  try {
    const handle = await open(temporary, 'wx')
    const size = await fill(handle, chunks, path, options.signal)
    return {
      size,
      discard,
      async commit(as = target) {
        try {
          await rename(temporary, as)
          await syncFolder(dirname(target))
        } catch (cause) {
          await discard()
          throw fileError(path, cause, 'could not be written')
        }
      },
    }
  } catch (cause) {
    await discard()
    throw fileError(path, cause, 'could not be written')
  }
}

async function fill(handle: FileHandle, chunks: ByteStream, path: string, signal: AbortSignal | undefined): Promise<number> {
  let size = 0
  try {
    for await (const chunk of chunks) {
      throwIfAborted(signal, path)
      // A write may be partial, and large ones are refused by some systems.
      for (let at = 0; at < chunk.length; ) {
        const { bytesWritten } = await handle.write(chunk, at, Math.min(chunk.length - at, 1 << 28))
        at += bytesWritten
      }
      size += chunk.length
    }
    throwIfAborted(signal, path)
    await handle.sync()
  } finally {
    await handle.close()
  }
  return size
}

async function resolveTarget(path: string): Promise<string> {
  const found = await stat(path).catch(() => undefined)
  if (found === undefined) return path
  if (!found.isFile()) throw new LowbitError('LOWBIT_FILE', { thing: path, found: found.isDirectory() ? 'a folder' : 'a device or pipe', expected: 'a file name' })
  return realpath(path)
}

/** A rename is on the disk only when its folder is. Not every system lets a folder be opened. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined)
  await handle?.sync().catch(() => undefined)
  await handle?.close()
}

const FIXES: Readonly<Record<string, string>> = {
  ENOENT: 'check the path: a folder or the file does not exist',
  ENOTDIR: 'check the path: a part of it is no folder',
  EACCES: 'check who may read and write there',
  EPERM: 'check who may read and write there',
  EROFS: 'choose a folder that can be written',
  ENOSPC: 'free some disk space',
  EISDIR: 'name a file, not a folder',
}

/** A LowbitError around what the operating system said; a LowbitError passes through. */
export function fileError(path: string, cause: unknown, found: string): LowbitError {
  if (cause instanceof LowbitError) return cause
  const code = cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : undefined
  const fix = code === undefined ? undefined : FIXES[code]
  return new LowbitError('LOWBIT_FILE', { thing: path, found: `${found}${code === undefined ? '' : ` (${code})`}`, ...(fix === undefined ? {} : { fix }), cause })
}
