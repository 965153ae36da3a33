import { LowbitError, type Artifact } from '@lowbit/core'

/** A file of a folder that is written. */
export interface FolderFile {
  /** With forward slashes, below the folder. */
  readonly name: string
  pieces(signal?: AbortSignal): AsyncIterable<Uint8Array> | Iterable<Uint8Array>
}

export interface FolderArtifactOptions {
  readonly format: string
  /** Bytes of the model file, which {@link Artifact.bytes} gives. */
  readonly size: number
  readonly notes: readonly string[]
  readonly files: readonly FolderFile[]
  readonly bytes: () => Uint8Array<ArrayBuffer>
  readonly signal?: AbortSignal | undefined
}

/**
 * An artifact that is a folder. `bytes()` is its model file alone. It is written under another name beside its place and renamed
 * when it is whole; a folder that is there already stays as it is.
 */
export function folderArtifact({ format, size, notes, files, bytes, signal }: FolderArtifactOptions): Artifact {
  return {
    format,
    size,
    notes,
    bytes,
    async save(path) {
      const { saveFolder } = await import('@lowbit/formats/node')
      await saveFolder(path, files.map(({ name, pieces }) => ({ name, chunks: () => pieces(signal) })), signal === undefined ? {} : { signal })
    },
  }
}

/** A small text file. */
export function textFile(name: string, text: string): FolderFile {
  return { name, pieces: () => [new TextEncoder().encode(text)] }
}

export function jsonFile(name: string, value: unknown): FolderFile {
  return textFile(name, `${JSON.stringify(value, null, 2)}\n`)
}

/** What does not fit one buffer. */
export function noBytes(format: string, size: number): LowbitError {
  return new LowbitError('LOWBIT_LIMIT', { thing: `a ${format} model of ${size} bytes`, found: 'asked for as one buffer', expected: 'a model that fits one', fix: 'save it to a path' })
}
