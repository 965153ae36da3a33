import { LowbitError, type Artifact } from '@lowbit/core'

export interface ArtifactFile {
  /** Last part of the file's name where it differs from the path that was asked for. */
  readonly name?: string
  readonly bytes: Uint8Array<ArrayBuffer>
}

/** An artifact of a main file and what lies beside it. `whole` is everything in one buffer, where that differs from the main file. */
export function artifact(format: string, files: readonly [ArtifactFile, ...ArtifactFile[]], notes: readonly string[], whole = files[0].bytes): Artifact {
  return {
    format,
    size: files.reduce((sum, f) => sum + f.bytes.length, 0),
    notes,
    bytes: () => whole,
    save: (path) => saveFiles(path, files),
  }
}

/** Side files first, the main file last, each written beside its target and renamed: a reader never sees half of one. */
async function saveFiles(path: string, files: readonly ArtifactFile[]): Promise<void> {
  if (typeof process === 'undefined' || process.versions?.node === undefined) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: path, found: 'no file system here', fix: 'use artifact.bytes()' })
  }
  const { atomicWrite, dirname, join } = await import('@lowbit/formats/node')
  for (const { name, bytes } of [...files].reverse()) await atomicWrite(name === undefined ? path : join(dirname(path), name), [bytes])
}
