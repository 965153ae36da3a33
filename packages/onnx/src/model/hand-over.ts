import type { Artifact } from '@lowbit/core'

/** Media type of a file that a browser stores and does not open. */
const TYPE = 'application/octet-stream'

/**
 * An artifact as a Blob, for a download or a `fetch`: the browser may keep it on its disk.
 * @throws LOWBIT_LIMIT for a model whose weights are in files beside it
 */
export function artifactBlob(artifact: Artifact): Blob {
  return new Blob([artifact.bytes()], { type: TYPE })
}

/**
 * Writes an artifact to a file of the File System Access API, one that a user chose (`showSaveFilePicker`) or one of the origin's own
 * (OPFS). The browser writes beside the file and swaps on closing: the old file stays whole until then, and for good if this fails.
 * @throws LOWBIT_LIMIT for a model whose weights are in files beside it; what the browser throws where it cannot write
 */
export async function saveToHandle(artifact: Artifact, handle: Pick<FileSystemFileHandle, 'createWritable'>): Promise<void> {
  const bytes = artifact.bytes()
  const stream = await handle.createWritable()
  try {
    await stream.write(bytes)
    await stream.close()
  } catch (error) {
    await stream.abort().catch(() => undefined)
    throw error
  }
}
