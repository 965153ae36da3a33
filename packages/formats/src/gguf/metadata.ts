import { LowbitError } from '@lowbit/core'

/** Arrays of numbers stand as typed arrays: a vocabulary's scores have a hundred thousand. */
export const GGUF_NUMBER_ARRAYS = {
  uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array, uint32: Uint32Array, int32: Int32Array,
  float32: Float32Array, float64: Float64Array, uint64: BigUint64Array, int64: BigInt64Array,
} as const

export type GgufNumberType = keyof typeof GGUF_NUMBER_ARRAYS
type NumberArray<T extends GgufNumberType> = InstanceType<(typeof GGUF_NUMBER_ARRAYS)[T]>

/** A list in GGUF metadata. The format allows lists of lists; llama.cpp refuses them. */
export type GgufArray =
  | { readonly type: 'array'; readonly items: 'string'; readonly value: readonly string[] }
  | { readonly type: 'array'; readonly items: 'bool'; readonly value: readonly boolean[] }
  | { readonly type: 'array'; readonly items: 'array'; readonly value: readonly GgufArray[] }
  | { [T in GgufNumberType]: { readonly type: 'array'; readonly items: T; readonly value: NumberArray<T> } }[GgufNumberType]

/** A value of GGUF metadata with its type in the file. Integers of 64 bits are `bigint`. */
export type GgufValue =
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'uint64' | 'int64'; readonly value: bigint }
  | { readonly type: Exclude<GgufNumberType, 'uint64' | 'int64'>; readonly value: number }
  | GgufArray

/** Key → value, in the order of the file. */
export type GgufMetadata = ReadonlyMap<string, GgufValue>

function mismatch(key: string, value: GgufValue, expected: string): LowbitError {
  return new LowbitError('LOWBIT_FORMAT', { thing: `metadata '${key}'`, found: value.type === 'array' ? `a list of ${value.items}` : `${value.type} ${String(value.value).slice(0, 80)}`, expected })
}

/** A text, or undefined if the key is not there. @throws LOWBIT_FORMAT if it is something else. */
export function metadataText(metadata: GgufMetadata, key: string): string | undefined {
  const value = metadata.get(key)
  if (value === undefined) return undefined
  if (value.type !== 'string') throw mismatch(key, value, 'a text')
  return value.value
}

/** A number of any type, or undefined if the key is not there. @throws LOWBIT_FORMAT if it is something else or past 2^53. */
export function metadataNumber(metadata: GgufMetadata, key: string): number | undefined {
  const value = metadata.get(key)
  if (value === undefined) return undefined
  if (value.type === 'array' || value.type === 'string' || value.type === 'bool') throw mismatch(key, value, 'a number')
  const number = Number(value.value)
  if (typeof value.value === 'bigint' && !Number.isSafeInteger(number)) throw mismatch(key, value, 'a number below 2^53')
  return number
}

/** True or false, or undefined if the key is not there. @throws LOWBIT_FORMAT if it is something else. */
export function metadataFlag(metadata: GgufMetadata, key: string): boolean | undefined {
  const value = metadata.get(key)
  if (value === undefined) return undefined
  if (value.type !== 'bool') throw mismatch(key, value, 'true or false')
  return value.value
}

/** A list of texts, or undefined if the key is not there. @throws LOWBIT_FORMAT if it is something else. */
export function metadataTexts(metadata: GgufMetadata, key: string): readonly string[] | undefined {
  const value = metadata.get(key)
  if (value === undefined) return undefined
  if (value.type !== 'array' || value.items !== 'string') throw mismatch(key, value, 'a list of texts')
  return value.value
}

/** A list of numbers (64-bit ones narrowed), or undefined if the key is not there. @throws LOWBIT_FORMAT if it is something else. */
export function metadataNumbers(metadata: GgufMetadata, key: string): ArrayLike<number> | undefined {
  const value = metadata.get(key)
  if (value === undefined) return undefined
  if (value.type !== 'array' || value.items === 'string' || value.items === 'array') throw mismatch(key, value, 'a list of numbers')
  if (value.items === 'uint64' || value.items === 'int64') return Array.from(value.value, Number)
  if (value.items === 'bool') return value.value.map(Number)
  return value.value
}
