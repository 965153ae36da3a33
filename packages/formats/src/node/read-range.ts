import { constants } from 'node:fs'
import { open, stat, type FileHandle } from 'node:fs/promises'
import { LowbitError } from '@lowbit/core'
import { expectInside, type ByteSource } from '../bytes/byte-source.js'
import { fileError, kindOf } from './file-error.js'
import { changed, stampOf } from './file-stamp.js'

/** Pieces that streams move at a time. */
const PIECE = 8 << 20
/** Some systems refuse larger reads. */
const MAX_READ = 1 << 28
/** Files that are kept open; a model may have thousands of data files, and a process may open a few hundred. */
const MAX_OPEN = 32

/** A file open for reading ranges. The process keeps few of them really open; nobody can tell, but for {@link isUnchanged}. */
export interface RangeFile extends ByteSource {
  /** Fresh memory unless there is room, so that typed arrays over it are aligned. @throws LOWBIT_FILE if the file is shorter. */
  read(offset: number, length: number, room?: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>
  /** The same in pieces. A piece is valid until the next one is asked for. */
  pieces(offset: number, length: number): AsyncGenerator<Uint8Array<ArrayBuffer>>
  /** @throws LOWBIT_FILE if another file has its name now, or its size or time of change differ from when it was opened. */
  checkUnchanged(): Promise<void>
}

class OpenFile {
  handle: FileHandle | undefined
  opening: Promise<FileHandle> | undefined
  users = 0
  closed = false
  constructor(
    readonly path: string,
    public stamp: string | undefined,
  ) {}
}

/** Open handles, the one used last at the end. */
const opened = new Set<OpenFile>()

/**
 * Opens a regular file. Pipes, sockets, devices and folders are refused without waiting for them.
 * @throws LOWBIT_FILE
 */
export async function openRangeFile(path: string): Promise<RangeFile> {
  const file = new OpenFile(path, undefined)
  const size = await use(file, async (handle) => (await handle.stat()).size)
  const inside = (offset: number, length: number): void => expectInside({ name: path, size }, offset, length)
  return {
    name: path,
    size,
    async read(offset, length, room) {
      inside(offset, length)
      const bytes = room === undefined ? allocateBytes(length, path) : room.subarray(0, length)
      await use(file, (handle) => readFully(handle, bytes, offset, path))
      return bytes
    },
    async *pieces(offset, length) {
      inside(offset, length)
      const buffer = new Uint8Array(Math.min(PIECE, length))
      for (let at = 0; at < length; at += buffer.length) {
        const piece = buffer.subarray(0, Math.min(buffer.length, length - at))
        await use(file, (handle) => readFully(handle, piece, offset + at, path))
        yield piece
      }
    },
    async checkUnchanged() {
      const found = await stat(path, { bigint: true }).catch((cause: unknown) => {
        throw fileError(path, cause, 'changed while it was in use')
      })
      if (stampOf(found) !== file.stamp) throw changed(path)
    },
    async close() {
      file.closed = true
      if (file.users === 0) await closeHandle(file)
    },
  }
}

async function use<T>(file: OpenFile, work: (handle: FileHandle) => Promise<T>): Promise<T> {
  if (file.closed) throw new LowbitError('LOWBIT_DISPOSED', { thing: file.path, found: 'already closed', fix: 'open it again' })
  file.users++
  try {
    const handle = file.handle ?? (await (file.opening ??= openHandle(file)))
    opened.delete(file)
    opened.add(file)
    return await work(handle)
  } catch (cause) {
    throw fileError(file.path, cause, 'could not be read')
  } finally {
    file.users--
    if (file.closed && file.users === 0) await closeHandle(file)
    else await closeIdle()
  }
}

async function openHandle(file: OpenFile): Promise<FileHandle> {
  try {
    // Opening a pipe would wait for who writes to it.
    const handle = await open(file.path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)).catch((cause: unknown) => {
      throw fileError(file.path, cause, 'could not be opened')
    })
    try {
      const found = await handle.stat({ bigint: true })
      if (!found.isFile()) throw new LowbitError('LOWBIT_FILE', { thing: file.path, found: kindOf(found), expected: 'a file' })
      const stamp = stampOf(found)
      if (file.stamp !== undefined && file.stamp !== stamp) throw changed(file.path)
      file.stamp = stamp
    } catch (error) {
      await handle.close()
      throw error
    }
    file.handle = handle
    opened.add(file)
    return handle
  } finally {
    file.opening = undefined
  }
}

async function closeHandle(file: OpenFile): Promise<void> {
  const { handle } = file
  file.handle = undefined
  opened.delete(file)
  await handle?.close()
}

async function closeIdle(): Promise<void> {
  for (const file of opened) {
    if (opened.size <= MAX_OPEN) return
    if (file.users === 0) await closeHandle(file)
  }
}

function allocateBytes(length: number, path: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(length)
  } catch (cause) {
    throw new LowbitError('LOWBIT_LIMIT', { thing: path, found: `${length} bytes in one buffer`, fix: 'the JavaScript engine cannot hold a tensor of that size', cause })
  }
}

async function readFully(handle: FileHandle, bytes: Uint8Array, offset: number, path: string): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesRead } = await handle.read(bytes, at, Math.min(bytes.length - at, MAX_READ), offset + at)
    if (bytesRead === 0) throw new LowbitError('LOWBIT_FILE', { thing: path, found: 'it became shorter while it was read' })
    at += bytesRead
  }
}

/** A whole file, if it is a regular one of at most `maxBytes`. @throws LOWBIT_FILE, LOWBIT_LIMIT. */
export async function readWholeFile(path: string, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const file = await openRangeFile(path)
  try {
    return await readAll(file, maxBytes)
  } finally {
    await file.close()
  }
}

/** All bytes of an open file. @throws LOWBIT_FILE, LOWBIT_LIMIT. */
export async function readAll(file: RangeFile, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  if (file.size > maxBytes) throw new LowbitError('LOWBIT_LIMIT', { thing: file.name, found: `${file.size} bytes`, expected: `at most ${maxBytes}` })
  return file.read(0, file.size)
}

/** A whole text file in UTF-8. @throws LOWBIT_FILE, LOWBIT_LIMIT. */
export async function readTextFile(path: string, maxBytes = 1 << 26): Promise<string> {
  return new TextDecoder().decode(await readWholeFile(path, maxBytes))
}
