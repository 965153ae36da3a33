import { LowbitError } from '@lowbit/core'
import { blobSource, memorySource, type ByteSource } from './byte-source.js'

/** The files of one folder by name, wherever they are. */
export interface FileSet {
  /** For messages: the folder. */
  readonly name: string
  /** Names of the files, not of folders below. */
  list(): Promise<readonly string[]>
  /** @throws LOWBIT_NOT_FOUND, LOWBIT_FILE. */
  open(name: string): Promise<ByteSource>
}

/** Files that a user chose or dropped, or that are in memory, by name. */
export function filesInMemory(files: Readonly<Record<string, Uint8Array<ArrayBuffer> | Blob>>, name = 'files'): FileSet {
  return {
    name,
    list: async () => Object.keys(files),
    async open(file) {
      const found = Object.hasOwn(files, file) ? files[file] : undefined
      if (found === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: name, found: `no file '${file}'`, expected: `one of ${Object.keys(files).slice(0, 20).join(', ')}` })
      return found instanceof Uint8Array ? memorySource(found, file) : blobSource(found, file)
    },
  }
}

/** A small file whole. @throws LOWBIT_LIMIT past `maxBytes`, and what {@link FileSet.open} throws. */
export async function readSmallFile(files: FileSet, name: string, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const source = await files.open(name)
  try {
    if (source.size > maxBytes) throw new LowbitError('LOWBIT_LIMIT', { thing: `${files.name}: ${name}`, found: `${source.size} bytes`, expected: `at most ${maxBytes}` })
    return await source.read(0, source.size)
  } finally {
    await source.close()
  }
}
