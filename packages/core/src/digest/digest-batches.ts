import type { BatchSource } from '../contract/v2/host.js'
import { throwIfAborted } from '../errors.js'
import { sha256, updateInPieces } from './hasher.js'

/** SHA-256 of data: names, types, shapes and bytes of every batch in order. Reads the data once, a batch at a time. */
export async function digestBatches(data: BatchSource, signal?: AbortSignal): Promise<string> {
  const hash = sha256()
  for await (const batch of data) {
    throwIfAborted(signal, 'digest of the data')
    hash.update('batch\n')
    for (const name of Object.keys(batch).sort()) {
      const { dtype, shape, data: values } = batch[name]
      hash.update(`${JSON.stringify([name, dtype, shape])}\n`)
      await updateInPieces(hash, new Uint8Array(values.buffer, values.byteOffset, values.byteLength), signal)
    }
  }
  return hash.hex()
}
