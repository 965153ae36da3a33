import { link, open, rename, unlink, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { throwIfAborted } from '@lowbit/core'
import { fileError, systemCode } from './file-error.js'
import { clobbers, resolveTarget, type Target } from './targets.js'
import { holdTemporary, sweepOnce, temporaryName } from './temporaries.js'

/** Bytes to write: pieces, as they come. */
export type ByteStream = Iterable<Uint8Array> | AsyncIterable<Uint8Array>

export interface AtomicWriteOptions {
  readonly signal?: AbortSignal
  /** Refuse to replace a file that exists. Default false. */
  readonly noClobber?: boolean
}

/** Some systems refuse larger writes. */
const MAX_WRITE = 1 << 28

/**
 * Writes a file that appears whole or not at all: a temporary file beside the target, synced to the disk, then renamed.
 * What stood at the target stays untouched until then, also if the process is killed, and gives its permissions to the new file.
 * A symbolic link is kept and its target replaced. What dead processes left in the folder is removed.
 * @throws LOWBIT_FILE if the folder, the disk or the target does not allow it, LOWBIT_ABORTED; nothing is left behind.
 */
export async function atomicWrite(path: string, chunks: ByteStream, options: AtomicWriteOptions = {}): Promise<void> {
  const staged = await stageFile(path, chunks, options)
  await staged.commit()
}

/** {@link atomicWrite} of text, as UTF-8. */
export function atomicWriteText(path: string, text: string, options: AtomicWriteOptions = {}): Promise<void> {
  return atomicWrite(path, [new TextEncoder().encode(text)], options)
}

/** A file that is written and synced, but does not have its name yet. */
export interface StagedFile {
  readonly size: number
  /** Where it will stand, links followed. */
  readonly target: string
  /** Gives the file its name, replacing what had it; `as` is another name in the same folder. */
  commit(as?: string): Promise<void>
  /** Removes the temporary file. */
  discard(): Promise<void>
}

/** The first half of {@link atomicWrite}, for files that must appear together. */
export async function stageFile(path: string, chunks: ByteStream, options: AtomicWriteOptions = {}): Promise<StagedFile> {
  const target = await resolveTarget(path)
  if (options.noClobber === true && target.existing !== undefined) throw clobbers(path)
  const folder = dirname(target.path)
  await sweepOnce(folder)
  const temporary = temporaryName(folder)
  const forget = holdTemporary(temporary)
  const discard = async (): Promise<void> => {
    await unlink(temporary).catch(() => undefined)
    forget()
  }
  try {
    const handle = await open(temporary, 'wx')
    const size = await fill(handle, chunks, path, target, options.signal)
    return {
      size,
      target: target.path,
      discard,
      async commit(as = target.path) {
        try {
          await (options.noClobber === true ? give(temporary, as, path) : rename(temporary, as))
          await syncFolder(folder)
          forget()
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

async function fill(handle: FileHandle, chunks: ByteStream, path: string, { existing }: Target, signal: AbortSignal | undefined): Promise<number> {
  let size = 0
  try {
    if (existing !== undefined) await takeAfter(handle, existing)
    for await (const chunk of chunks) {
      throwIfAborted(signal, path)
      // A write may be partial.
      for (let at = 0; at < chunk.length; ) {
        const { bytesWritten } = await handle.write(chunk, at, Math.min(chunk.length - at, MAX_WRITE))
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

/** Who could not read the old file shall not read the new one. Owners can be kept only by those who may give files away. */
async function takeAfter(handle: FileHandle, { mode, uid, gid }: NonNullable<Target['existing']>): Promise<void> {
  const made = await handle.stat()
  if (made.uid !== uid || made.gid !== gid) await handle.chown(uid, gid).catch(() => undefined)
  if ((made.mode & 0o7777) !== mode) await handle.chmod(mode).catch(() => undefined)
}

/** A rename that does not replace. */
async function give(temporary: string, as: string, path: string): Promise<void> {
  try {
    await link(temporary, as)
  } catch (cause) {
    if (systemCode(cause) === 'EEXIST') throw clobbers(path)
    // File systems without hard links: the moment between looking and renaming stays.
    if ((await resolveTarget(as)).existing !== undefined) throw clobbers(path)
    await rename(temporary, as)
    return
  }
  await unlink(temporary)
}

/** A rename is on the disk only when its folder is. Not every system lets a folder be opened. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined)
  await handle?.sync().catch(() => undefined)
  await handle?.close()
}
