import { LowbitError } from '@lowbit/core'

/** A file in pieces. */
export interface Chunks {
  readonly chunks: readonly Uint8Array<ArrayBuffer>[]
  readonly size: number
}

/** One buffer from pieces. @throws LOWBIT_LIMIT if the engine cannot allocate it. */
export function joinChunks({ chunks, size }: Chunks): Uint8Array<ArrayBuffer> {
  const bytes = newBytes(size)
  let pos = 0
  for (const chunk of chunks) {
    bytes.set(chunk, pos)
    pos += chunk.length
  }
  return bytes
}

function newBytes(size: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(size)
  } catch (cause) {
    throw new LowbitError('LOWBIT_LIMIT', { thing: 'model', found: `${size} bytes in one buffer`, fix: 'save it to a file instead', cause })
  }
}
