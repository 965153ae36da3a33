import type { HostTensor } from '@lowbit/core'
import { findEntry, parseSafetensorsHeader, safetensorsHeaderLength, safetensorsToHost, type SafetensorsHeader } from '../tensors/safetensors.js'
import { openRangeFile } from './read-range.js'

/** A safetensors file on the disk; tensors are read one at a time. `close` or `await using` it. */
export interface LazySafetensors extends SafetensorsHeader, AsyncDisposable {
  readonly path: string
  readonly size: number
  read(name: string): Promise<HostTensor>
  close(): Promise<void>
}

/** Opens a safetensors file by path: the header is read and checked, the tensors stay on the disk. */
export async function openSafetensors(path: string): Promise<LazySafetensors> {
  const file = await openRangeFile(path)
  try {
    const length = safetensorsHeaderLength(await file.read(0, Math.min(8, file.size)), file.size, path)
    const header = parseSafetensorsHeader(await file.read(8, length), file.size, path)
    return {
      ...header,
      path,
      size: file.size,
      async read(name) {
        const entry = findEntry(header, name, path)
        return safetensorsToHost(entry, await file.read(entry.offset, entry.length), `${path}:${name}`)
      },
      close: file.close,
      [Symbol.asyncDispose]: file.close,
    }
  } catch (error) {
    await file.close()
    throw error
  }
}
