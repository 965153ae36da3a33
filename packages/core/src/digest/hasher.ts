import { breathe } from '../slices/breath.js'
import { Sha256 } from './sha256.js'

/** SHA-256 over pieces. */
export interface Hasher {
  /** Adds bytes, or text as UTF-8. */
  update(data: Uint8Array | string): unknown
  /** The digest in hexadecimal. Nothing can be added after it. */
  hex(): string
}

/** The fastest SHA-256 that takes pieces: Node's own, or {@link Sha256}. Web Crypto takes a message whole only. */
export function sha256(): Hasher {
  // Asked of the process, not imported: a bundler has nothing to follow.
  const crypto = typeof process === 'undefined' ? undefined : process.getBuiltinModule?.('node:crypto')
  if (crypto === undefined) return new Sha256()
  const hash = crypto.createHash('sha256')
  return { update: (data) => hash.update(data), hex: () => hash.digest('hex') }
}

/** Bytes between two looks at the event loop: a few milliseconds of hashing without help of the processor. */
const PIECE = 2 ** 20

/**
 * Adds many bytes, with turns of the event loop in between.
 * @throws LOWBIT_ABORTED
 */
export async function updateInPieces(hash: Hasher, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
  for (let from = 0; from < bytes.length; from += PIECE) {
    hash.update(bytes.subarray(from, from + PIECE))
    await breathe(signal, 'digest')
  }
}
