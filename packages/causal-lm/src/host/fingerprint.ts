import { Sha256 } from '@lowbit/core'
import { matrixFloats } from '../weights/matrix.js'
import type { ModelState } from './model-state.js'

/** SHA-256 of everything that a model computes with: structure, gains, and all values of its matrices. */
export async function fingerprintOf(state: ModelState): Promise<string> {
  const hash = new Sha256().update(state.source.fingerprint())
  for (const values of state.originalVectors.values()) hash.update(bytes(values))
  for (const part of state.parts.values()) {
    if (part.kind !== 'matrix') continue
    const matrix = await state.source.matrix(part)
    hash.update(await digest(bytes('data' in matrix ? matrix.data : matrixFloats(matrix).data)))
  }
  return hash.hex()
}

const bytes = (data: ArrayBufferView): Uint8Array<ArrayBuffer> => new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength)

/** By the engine, where it has a digest: pages that were not served safely have none. */
async function digest(data: Uint8Array<ArrayBuffer>): Promise<Uint8Array | string> {
  const subtle = globalThis.crypto?.subtle
  return subtle === undefined ? new Sha256().update(data).hex() : new Uint8Array(await subtle.digest('SHA-256', data))
}
