import { open, readFile, stat, type FileHandle } from 'node:fs/promises'
import { LowbitError } from '@lowbit/core'
import { expectInside, type ByteSource } from '../bytes/byte-source.js'
import { fileError } from './atomic-write.js'

/** Pieces that streams move at a time. */
const PIECE = 8 << 20

/** A file open for reading ranges. */
export interface RangeFile extends ByteSource {
  /** Fresh memory, so that typed arrays over it are aligned. @throws LOWBIT_FILE if the file is shorter. */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>
  /** The same in pieces. A piece is valid until the next one is asked for. */
  pieces(offset: number, length: number): AsyncGenerator<Uint8Array<ArrayBuffer>>
}

export async function openRangeFile(path: string): Promise<RangeFile> {
  const handle = await open(path, 'r').catch((cause: unknown) => {
    throw fileError(path, cause, 'could not be opened')
  })
  const { size } = await handle.stat()
  const inside = (offset: number, length: number): void => expectInside({ name: path, size }, offset, length)
  return {
    name: path,
    size,
    async read(offset, length) {
      inside(offset, length)
      const bytes = allocateBytes(length, path)
      await readFully(handle, bytes, offset, path)
      return bytes
    },
    async *pieces(offset, length) {
      inside(offset, length)
      const buffer = new Uint8Array(Math.min(PIECE, length))
      for (let at = 0; at < length; at += buffer.length) {
        const piece = buffer.subarray(0, Math.min(buffer.length, length - at))
        await readFully(handle, piece, offset + at, path)
        yield piece
      }
    },
    close: () => handle.close(),
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
    const { bytesRead } = await handle.read(bytes, at, Math.min(bytes.length - at, 1 << 28), offset + at)
    if (bytesRead === 0) throw new LowbitError('LOWBIT_FILE', { thing: path, found: 'it became shorter while it was read' })
    at += bytesRead
  }
}

/** A whole file, if it is a regular one of at most `maxBytes`. @throws LOWBIT_FILE, LOWBIT_LIMIT. */
export async function readWholeFile(path: string, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const found = await stat(path)
    if (!found.isFile()) throw new LowbitError('LOWBIT_FILE', { thing: path, found: found.isDirectory() ? 'a folder' : 'a device or pipe', expected: 'a file' })
    if (found.size > maxBytes) throw new LowbitError('LOWBIT_LIMIT', { thing: path, found: `${found.size} bytes`, expected: `at most ${maxBytes}` })
    const bytes = await readFile(path)
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
  } catch (cause) {
    throw fileError(path, cause, 'could not be read')
  }
}
