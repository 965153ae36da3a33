import { isLowbitError, LowbitError, sha256, updateInPieces, type DType, type HostTensor } from '@lowbit/core'
import { bytesOf } from '../bytes/views.js'
import { readSafetensors, writeSafetensors } from '../tensors/safetensors.js'

/**
 * One codec for all that is kept or sent as bytes: jobs, statistics, results. A value is what a structured clone would carry of
 * plain data: null, booleans, any number, text, typed arrays, arrays and objects of these; members that are undefined are left out.
 *
 * The bytes are a safetensors file: the typed arrays are tensors named by number, the rest is JSON under `lowbit.value` in the metadata,
 * in which `{ "$": dtype, "at": number }` stands for a tensor; under `sha256` is the digest of that JSON and of the tensors in order.
 */
export type Value = null | boolean | number | string | TypedArray | readonly Value[] | { readonly [key: string]: Value | undefined }

type TypedArray = Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array | Float32Array | Float64Array | BigInt64Array | BigUint64Array

const LAYOUT = '1'
/** Values are nested as deep as reports and statistics are. */
const MAX_DEPTH = 64

const ARRAYS = {
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  float32: Float32Array,
  float64: Float64Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
} as const satisfies { readonly [D in DType]?: unknown }
type ArrayName = keyof typeof ARRAYS

/** A value as bytes, checksum included. @throws LOWBIT_ARGUMENT for what is no plain data (functions, maps, circles) */
export async function encodeValue(value: object, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  const arrays: HostTensor[] = []
  const json = JSON.stringify(toJson(value, (dtype, data) => arrays.push({ dtype, shape: [data.length], data: data.slice() }) - 1, 0))
  const digest = await digestOf(json, arrays, signal)
  return writeSafetensors(Object.fromEntries(arrays.map((array, i) => [String(i), array])), { lowbit: LAYOUT, 'lowbit.value': json, sha256: digest })
}

/**
 * The value of bytes that {@link encodeValue} made; its arrays are copies.
 * @param thing - what the bytes are, for errors
 * @throws LOWBIT_FORMAT for bytes that are no such value, were cut short or changed; LOWBIT_VERSION for those of another version
 */
export async function decodeValue(bytes: Uint8Array, thing: string, signal?: AbortSignal): Promise<Value> {
  const bad = (found: string, cause?: unknown): LowbitError => new LowbitError('LOWBIT_FORMAT', { thing, found, expected: 'a value as lowbit keeps it', fix: 'delete it: it is made again', ...(cause === undefined ? {} : { cause }) })
  const { metadata, tensors } = tensorsOf(bytes, thing, bad)
  const { lowbit: layout, 'lowbit.value': json, sha256: wanted } = metadata
  if (layout !== undefined && layout !== LAYOUT) throw new LowbitError('LOWBIT_VERSION', { thing, found: `version ${layout} of the format`, expected: LAYOUT, fix: 'delete it: it is made again' })
  if (layout === undefined || json === undefined || wanted === undefined) throw bad('another kind of safetensors file')
  if ((await digestOf(json, tensors, signal)) !== wanted) throw bad('a checksum that does not match')
  let parsed: unknown
  try {
    parsed = JSON.parse(json)
  } catch (cause) {
    throw bad('no JSON', cause)
  }
  const take = (dtype: string, at: unknown): TypedArray => {
    const found = typeof at === 'number' ? tensors[at] : undefined
    if (found === undefined || found.dtype !== dtype || !isArrayName(dtype)) throw bad(`no ${dtype} array ${String(at)}`)
    // A copy: a view would keep the whole file in memory.
    return new ARRAYS[dtype](bytesOf(found.data).slice().buffer)
  }
  return fromJson(parsed, take, bad, 0)
}

/** Metadata, and the tensors by their numbers. */
function tensorsOf(bytes: Uint8Array, thing: string, bad: (found: string, cause: unknown) => LowbitError): { readonly metadata: Readonly<Record<string, string>>; readonly tensors: readonly HostTensor[] } {
  try {
    const file = readSafetensors(bytes, thing)
    return { metadata: file.metadata, tensors: Array.from({ length: file.entries.size }, (_, i) => file.read(String(i))) }
  } catch (error) {
    throw isLowbitError(error) ? bad(error.parts.found, error) : error
  }
}

async function digestOf(json: string, arrays: readonly HostTensor[], signal: AbortSignal | undefined): Promise<string> {
  const hash = sha256()
  hash.update(json)
  for (const { dtype, data } of arrays) {
    hash.update(`\n${dtype} ${data.length}\n`)
    await updateInPieces(hash, bytesOf(data), signal)
  }
  return hash.hex()
}

/** True for an object of members, not an array of any kind. */
export function isRecord(value: unknown): value is { readonly [key: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value)
}

function isArrayName(name: string): name is ArrayName {
  return Object.hasOwn(ARRAYS, name)
}

/** Gives an array its number. */
type Place = (dtype: ArrayName, array: TypedArray) => number

function toJson(value: unknown, place: Place, depth: number): unknown {
  const refuse = (found: string): never => {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'value to keep', found, expected: 'numbers, text, typed arrays, and arrays and objects of these' })
  }
  if (depth > MAX_DEPTH) refuse(`more than ${MAX_DEPTH} levels, or a circle`)
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value
  // JSON has neither of these.
  if (typeof value === 'number') return Number.isFinite(value) && !Object.is(value, -0) ? value : { $: 'number', is: Object.is(value, -0) ? '-0' : String(value) }
  if (typeof value !== 'object') return refuse(`a ${typeof value}`)
  if (ArrayBuffer.isView(value)) {
    for (const [dtype, type] of Object.entries(ARRAYS)) if (value instanceof type) return { $: dtype, at: place(dtype as ArrayName, value) }
    return refuse(value.constructor.name)
  }
  if (Array.isArray(value)) return value.map((v) => toJson(v, place, depth + 1))
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) refuse(`a ${value.constructor.name}`)
  const members = Object.entries(value).filter(([, v]) => v !== undefined).map(([key, v]) => [key, toJson(v, place, depth + 1)] as const)
  // A user's object may have the key that marks ours.
  return members.some(([key]) => key === '$') ? { $: 'object', members } : Object.fromEntries(members)
}

function fromJson(json: unknown, take: (dtype: string, at: unknown) => TypedArray, bad: (found: string) => LowbitError, depth: number): Value {
  if (depth > MAX_DEPTH) throw bad(`more than ${MAX_DEPTH} levels`)
  if (json === null || typeof json === 'boolean' || typeof json === 'string' || typeof json === 'number') return json
  if (Array.isArray(json)) return json.map((v) => fromJson(v, take, bad, depth + 1))
  if (!isRecord(json)) throw bad(`a ${typeof json}`)
  const { $: mark } = json
  if (mark === undefined) return Object.fromEntries(Object.entries(json).map(([key, v]) => [key, fromJson(v, take, bad, depth + 1)]))
  if (mark === 'number') return Number(json.is)
  if (mark === 'object') {
    if (!Array.isArray(json.members)) throw bad('an object without members')
    return Object.fromEntries(json.members.map((pair: unknown) => {
      if (!Array.isArray(pair) || typeof pair[0] !== 'string') throw bad('a member without a name')
      return [pair[0], fromJson(pair[1], take, bad, depth + 1)]
    }))
  }
  if (typeof mark !== 'string') throw bad('a mark that is no text')
  return take(mark, json.at)
}
