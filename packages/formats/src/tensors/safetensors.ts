import { bytesPerElement, elementCount, isDType, LowbitError, parseJsonText, type DType, type HostTensor } from '@lowbit/core'
import { joinChunks, type Chunks } from '../bytes/chunks.js'
import { bytesOf, viewBytes } from '../bytes/views.js'

/** Longest header read: room for some 200,000 tensors. */
export const MAX_SAFETENSORS_HEADER = 32 << 20
const MAX_RANK = 64

const NAMES: Readonly<Record<string, DType>> = {
  F64: 'float64', F32: 'float32', F16: 'float16', BF16: 'bfloat16', F8_E4M3: 'float8e4m3fn', F8_E5M2: 'float8e5m2',
  I64: 'int64', I32: 'int32', I16: 'int16', I8: 'int8', U64: 'uint64', U32: 'uint32', U16: 'uint16', U8: 'uint8', BOOL: 'bool',
}

/** Where a tensor stands in a safetensors file. */
export interface SafetensorsEntry {
  /** As in the file: `F32`, `BF16`, … */
  readonly type: string
  readonly shape: readonly number[]
  /** First byte, from the start of the file. */
  readonly offset: number
  readonly length: number
}

export interface SafetensorsHeader {
  readonly metadata: Readonly<Record<string, string>>
  readonly entries: ReadonlyMap<string, SafetensorsEntry>
}

/** A safetensors file in memory; tensors are views of it. */
export interface SafetensorsFile extends SafetensorsHeader {
  /** @throws LOWBIT_NOT_FOUND, LOWBIT_DTYPE for types lowbit does not know. */
  read(name: string): HostTensor
}

const failure = (thing: string, found: string): LowbitError => new LowbitError('LOWBIT_FORMAT', { thing, found, expected: 'a safetensors file' })

/** Bytes of the header, from the first eight bytes of a file of `size` bytes. @throws LOWBIT_FORMAT, LOWBIT_LIMIT. */
export function safetensorsHeaderLength(start: Uint8Array, size: number, thing = 'safetensors'): number {
  if (start.length < 8) throw failure(thing, `${start.length} bytes`)
  const length = new DataView(start.buffer, start.byteOffset, 8).getBigUint64(0, true)
  if (length > BigInt(Math.max(0, size - 8))) throw failure(thing, `a header of ${length} bytes in a file of ${size}`)
  if (length > BigInt(MAX_SAFETENSORS_HEADER)) throw new LowbitError('LOWBIT_LIMIT', { thing, found: `a header of ${length} bytes`, expected: `at most ${MAX_SAFETENSORS_HEADER}` })
  return Number(length)
}

/**
 * Parses a header and checks that every tensor lies inside the file, has the bytes its shape asks for, and shares none.
 * @param json The header's bytes. @param size Bytes of the whole file.
 */
export function parseSafetensorsHeader(json: Uint8Array, size: number, thing = 'safetensors'): SafetensorsHeader {
  const root = parseJson(json, thing)
  const start = 8 + json.length
  const entries = new Map<string, SafetensorsEntry>()
  let metadata: Record<string, string> = {}
  for (const [name, value] of Object.entries(root)) {
    if (!isObject(value)) throw failure(thing, `'${name}' is no object`)
    if (name === '__metadata__') metadata = Object.fromEntries(Object.entries(value).map(([key, text]) => [key, typeof text === 'string' ? text : JSON.stringify(text)]))
    else entries.set(name, parseEntry(value, start, size, `${thing}:${name}`))
  }
  let end = start
  for (const entry of [...entries.values()].sort((a, b) => a.offset - b.offset || a.length - b.length)) {
    if (entry.offset < end) throw failure(thing, `two tensors share bytes at ${entry.offset}`)
    end = entry.offset + entry.length
  }
  return { metadata, entries }
}

function parseJson(bytes: Uint8Array, thing: string): Record<string, unknown> {
  let root: unknown
  try {
    root = parseJsonText(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new LowbitError('LOWBIT_FORMAT', { thing, found: 'a header that is no JSON', expected: 'a safetensors file', cause })
  }
  if (!isObject(root)) throw failure(thing, 'a header that is no JSON object')
  return root
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function parseEntry(value: Record<string, unknown>, start: number, size: number, thing: string): SafetensorsEntry {
  const { dtype: type, shape, data_offsets: offsets } = value
  if (typeof type !== 'string' || !isSizes(shape) || !isSizes(offsets) || offsets.length !== 2 || shape.length > MAX_RANK) throw failure(thing, 'no dtype, shape and data_offsets')
  const [from, to] = offsets
  if (from > to || start + to > size) throw failure(thing, `bytes ${from} to ${to} in a file with ${size - start} bytes of data`)
  const dtype = dtypeOf(type)
  if (dtype !== undefined && elementCount(shape, thing) * bytesPerElement(dtype) !== to - from) {
    throw new LowbitError('LOWBIT_SHAPE', { thing, found: `${to - from} bytes for ${type} [${shape.join(', ')}]`, expected: `${elementCount(shape) * bytesPerElement(dtype)} bytes` })
  }
  return { type, shape, offset: start + from, length: to - from }
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0)
}

function dtypeOf(type: string): DType | undefined {
  return Object.hasOwn(NAMES, type) ? NAMES[type] : undefined
}

/** @throws LOWBIT_DTYPE for a type lowbit does not know */
export function safetensorsDType(type: string, thing: string): DType {
  const dtype = dtypeOf(type)
  if (dtype === undefined) throw new LowbitError('LOWBIT_DTYPE', { thing, found: `type ${type}`, expected: Object.keys(NAMES).join(', ') })
  return dtype
}

/** A tensor from its bytes. @throws LOWBIT_DTYPE for a type lowbit does not know. */
export function safetensorsToHost(entry: SafetensorsEntry, bytes: Uint8Array, thing: string): HostTensor {
  const dtype = safetensorsDType(entry.type, thing)
  return { dtype, shape: entry.shape, data: viewBytes(bytes, dtype, elementCount(entry.shape, thing)) }
}

/**
 * Opens a safetensors file in memory. The header is checked whole; tensors are read one at a time, as views.
 * @throws LOWBIT_FORMAT, LOWBIT_SHAPE, LOWBIT_LIMIT.
 */
export function readSafetensors(bytes: Uint8Array, thing = 'safetensors'): SafetensorsFile {
  const length = safetensorsHeaderLength(bytes, bytes.length, thing)
  const header = parseSafetensorsHeader(bytes.subarray(8, 8 + length), bytes.length, thing)
  return {
    ...header,
    read(name) {
      const entry = findEntry(header, name, thing)
      return safetensorsToHost(entry, bytes.subarray(entry.offset, entry.offset + entry.length), `${thing}:${name}`)
    },
  }
}

/** @throws LOWBIT_NOT_FOUND naming some of what is there. */
export function findEntry(header: SafetensorsHeader, name: string, thing: string): SafetensorsEntry {
  const entry = header.entries.get(name)
  if (entry === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing, found: `no tensor '${name}'`, expected: `one of ${[...header.entries.keys()].slice(0, 20).join(', ')}` })
  return entry
}

/** A safetensors file in pieces; tensors are views of the given ones. Sorted by element size, then name: everything is aligned. */
export function safetensorsChunks(tensors: Readonly<Record<string, HostTensor>>, metadata?: Readonly<Record<string, string>>): Chunks {
  const types = new Map(Object.entries(NAMES).map(([type, dtype]) => [dtype, type]))
  const sorted = Object.entries(tensors).sort(([a, x], [b, y]) => bytesPerElement(y.dtype) - bytesPerElement(x.dtype) || (a < b ? -1 : 1))
  const header = new Map<string, unknown>()
  if (metadata !== undefined) header.set('__metadata__', metadata)
  const chunks: Uint8Array<ArrayBuffer>[] = []
  let end = 0
  for (const [name, t] of sorted) {
    if (!isDType(t.dtype) || name === '__metadata__') throw new LowbitError('LOWBIT_ARGUMENT', { thing: `tensor '${name}'`, found: t.dtype, expected: 'a dtype and a name that safetensors can hold' })
    if (elementCount(t.shape, name) !== t.data.length) throw new LowbitError('LOWBIT_SHAPE', { thing: `tensor '${name}'`, found: `${t.data.length} elements for [${t.shape.join(', ')}]` })
    const bytes = bytesOf(t.data)
    header.set(name, { dtype: types.get(t.dtype), shape: t.shape, data_offsets: [end, end + bytes.length] })
    chunks.push(bytes)
    end += bytes.length
  }
  const text = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)))
  const length = Math.ceil(text.length / 8) * 8
  const head = new Uint8Array(8 + length).fill(0x20)
  new DataView(head.buffer).setBigUint64(0, BigInt(length), true)
  head.set(text, 8)
  return { chunks: [head, ...chunks], size: head.length + end }
}

/** A safetensors file as one buffer. */
export function writeSafetensors(tensors: Readonly<Record<string, HostTensor>>, metadata?: Readonly<Record<string, string>>): Uint8Array<ArrayBuffer> {
  return joinChunks(safetensorsChunks(tensors, metadata))
}
