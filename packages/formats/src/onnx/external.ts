import { LowbitError } from '@lowbit/core'
import { DataLocation, type ModelProto, type TensorProto } from './proto.js'
import { isExternal, tensorBytes } from './tensor.js'
import { tensorsOf } from './walk.js'

/** External data files in memory, by the name that stands in the model. */
export type ExternalFiles = ReadonlyMap<string, Uint8Array> | Readonly<Record<string, Uint8Array>>

/** Where a tensor's data stands in another file. */
export interface ExternalRange {
  /** Path relative to the model's folder, as written in the model: hostile until checked. */
  readonly location: string
  readonly offset: number
  readonly length: number
}

const WHOLE = /^\d{1,16}$/

/**
 * Where an external tensor's data stands. The length follows from type and shape; a stated one must agree.
 * @throws LOWBIT_FORMAT for missing or impossible entries.
 */
export function externalRange(t: TensorProto): ExternalRange {
  const thing = `tensor '${t.name}'`
  const entries = new Map(t.externalData.map((entry) => [entry.key, entry.value]))
  const location = entries.get('location')
  if (location === undefined || location === '') throw new LowbitError('LOWBIT_FORMAT', { thing, found: 'external data without a location' })
  const number = (key: string, fallback: number): number => {
    const text = entries.get(key)
    if (text === undefined) return fallback
    const value = Number(text)
    if (!WHOLE.test(text) || !Number.isSafeInteger(value)) throw new LowbitError('LOWBIT_FORMAT', { thing, found: `external data ${key} '${text}'`, expected: 'a whole number' })
    return value
  }
  const expected = tensorBytes(t)
  const offset = number('offset', 0)
  const length = number('length', expected)
  if (length !== expected) throw new LowbitError('LOWBIT_SHAPE', { thing, found: `${length} bytes of external data`, expected: `${expected} bytes for its type and shape` })
  return { location, offset, length }
}

/**
 * Points every external tensor at its bytes in memory: afterwards the model is self-contained, without a copy.
 * @throws LOWBIT_NOT_FOUND for a file that was not given, LOWBIT_FORMAT for a range outside of it.
 */
export function resolveExternal(model: ModelProto, files: ExternalFiles, thing = 'model'): void {
  for (const t of tensorsOf(model)) {
    if (!isExternal(t)) continue
    const { location, offset, length } = externalRange(t)
    const file = files instanceof Map ? files.get(location) : ownEntry(files, location)
    if (file === undefined) {
      throw new LowbitError('LOWBIT_NOT_FOUND', { thing, found: `tensor '${t.name}' stands in '${location}', which was not given`, fix: `pass externalData: { '${location}': bytes }` })
    }
    checkRange({ location, offset, length }, file.length, t.name)
    t.rawData = toArrayBufferView(file.subarray(offset, offset + length))
    t.externalData = []
    t.dataLocation = DataLocation.DEFAULT
  }
}

function ownEntry(files: ExternalFiles, name: string): Uint8Array | undefined {
  return Object.entries(files).find(([key]) => key === name)?.[1]
}

/** @throws LOWBIT_FORMAT if a range does not lie inside a file of `size` bytes. */
export function checkRange(range: ExternalRange, size: number, name: string): void {
  if (range.offset + range.length > size) {
    throw new LowbitError('LOWBIT_FORMAT', { thing: `tensor '${name}'`, found: `bytes ${range.offset} to ${range.offset + range.length} of '${range.location}', which has ${size}`, fix: 'the data file is not complete or not the one of this model' })
  }
}

function toArrayBufferView(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer } = bytes
  return buffer instanceof ArrayBuffer ? new Uint8Array(buffer, bytes.byteOffset, bytes.length) : new Uint8Array(bytes)
}
