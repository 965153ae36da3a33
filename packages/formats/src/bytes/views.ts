import { bytesPerElement, DTYPES, type DType, type TensorData } from '@lowbit/core'

/** Bytes as the typed array of a dtype: a view where aligned, else a copy. */
export function viewBytes(raw: Uint8Array, dtype: DType, count: number): TensorData {
  const aligned = raw.byteOffset % bytesPerElement(dtype) === 0 ? raw : new Uint8Array(raw)
  const make: new (buffer: ArrayBufferLike, offset: number, length: number) => TensorData = DTYPES[dtype].array
  return new make(aligned.buffer, aligned.byteOffset, count)
}

/** The bytes of a typed array, little endian, as a view. */
export function bytesOf(data: TensorData): Uint8Array<ArrayBuffer> {
  const { buffer } = data
  if (buffer instanceof ArrayBuffer) return new Uint8Array(buffer, data.byteOffset, data.byteLength)
  return new Uint8Array(new Uint8Array(buffer, data.byteOffset, data.byteLength))
}
