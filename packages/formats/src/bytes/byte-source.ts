import { LowbitError } from '@lowbit/core'

/** Bytes that are read a range at a time, wherever they lie: a file on the disk, a `Blob`, memory. */
export interface ByteSource {
  /** For messages: a path or a file name. */
  readonly name: string
  /** Bytes in all; may be past 2^32. */
  readonly size: number
  /**
   * Bytes `offset` to `offset + length`. Do not write into them: a source in memory gives a view.
   * @param room Memory of at least that many bytes that a source which copies may read into, in place of fresh memory.
   * @throws LOWBIT_FILE if the range does not lie inside the source, or the file became shorter; LOWBIT_LIMIT if one buffer cannot hold it.
   */
  read(offset: number, length: number, room?: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>
  /** The same in pieces, where the source has a better way than reads. A piece is valid until the next one is asked for. */
  pieces?(offset: number, length: number): AsyncGenerator<Uint8Array<ArrayBuffer>>
  close(): Promise<void>
}

/** Throws LOWBIT_FILE unless the range lies inside the source. */
export function expectInside(source: Pick<ByteSource, 'name' | 'size'>, offset: number, length: number): void {
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0 || offset + length > source.size) {
    throw new LowbitError('LOWBIT_FILE', { thing: source.name, found: `bytes ${offset} to ${offset + length} asked of ${source.size}`, fix: 'the file is not complete' })
  }
}

/** Bytes in memory; reads are views. */
export function memorySource(bytes: Uint8Array<ArrayBuffer>, name = 'bytes'): ByteSource {
  const source: ByteSource = {
    name,
    size: bytes.length,
    async read(offset, length) {
      expectInside(source, offset, length)
      return bytes.subarray(offset, offset + length)
    },
    close: async () => undefined,
  }
  return source
}

/** A `Blob` or `File` of a browser: only the slices asked for are read. */
export function blobSource(blob: Blob, name = 'name' in blob && typeof blob.name === 'string' ? blob.name : 'blob'): ByteSource {
  const source: ByteSource = {
    name,
    size: blob.size,
    async read(offset, length) {
      expectInside(source, offset, length)
      try {
        const bytes = new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer())
        if (bytes.length !== length) throw new LowbitError('LOWBIT_FILE', { thing: name, found: 'it became shorter while it was read' })
        return bytes
      } catch (cause) {
        if (cause instanceof LowbitError) throw cause
        throw new LowbitError('LOWBIT_FILE', { thing: name, found: `${length} bytes at ${offset} could not be read`, fix: 'choose the file again: it may have changed or been moved', cause })
      }
    },
    close: async () => undefined,
  }
  return source
}
