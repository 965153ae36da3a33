import { elementCount, LowbitError } from '@lowbit/core'
import type { ByteSource } from '../bytes/byte-source.js'
import { Q2_0_128 } from './blocks/simple.js'
import { Cursor, NeedMore } from './cursor.js'
import { GGUF_LIMITS } from './limits.js'
import { metadataNumber, type GgufMetadata, type GgufValue } from './metadata.js'
import { readValue } from './read-metadata.js'
import { GGUF_TYPES, type GgufType } from './types.js'

/** A tensor as the header of one file describes it. */
export interface HeaderTensor {
  readonly name: string
  readonly type: GgufType
  /** Outermost first. */
  readonly shape: readonly number[]
  /** From the start of the file. */
  readonly offset: number
  readonly length: number
}

export interface GgufHeader {
  readonly version: number
  readonly bigEndian: boolean
  readonly alignment: number
  readonly metadata: GgufMetadata
  readonly tensors: readonly HeaderTensor[]
}

const MAGIC = 0x46554747
const FIRST_READ = 1 << 20
/** What does not suffice is parsed again: eight times as much holds the vocabulary of any model at hand. */
const MORE = 8

/**
 * Reads and checks the head of a file: everything before the tensors, and that each tensor lies inside the file, aligned, apart from the others.
 * @throws LOWBIT_FORMAT, LOWBIT_LIMIT, LOWBIT_UNSUPPORTED, LOWBIT_FILE.
 */
export async function readGgufHeader(source: ByteSource): Promise<GgufHeader> {
  let length = Math.min(FIRST_READ, source.size)
  for (;;) {
    const bytes = await source.read(0, length)
    try {
      return parseHeader(bytes, source.size, source.name)
    } catch (error) {
      if (!(error instanceof NeedMore)) throw error
      if (error.until > GGUF_LIMITS.headerBytes) throw new LowbitError('LOWBIT_LIMIT', { thing: source.name, found: `a header of more than ${error.until} bytes`, expected: `at most ${GGUF_LIMITS.headerBytes}` })
      length = Math.min(source.size, GGUF_LIMITS.headerBytes, Math.max(MORE * length, error.until))
    }
  }
}

function parseHeader(bytes: Uint8Array, size: number, thing: string): GgufHeader {
  if (size < 4) throw new LowbitError('LOWBIT_FORMAT', { thing, found: size === 0 ? 'an empty file' : `${size} bytes`, expected: 'a GGUF file' })
  const start = new Cursor(bytes, size, true, thing)
  const magic = start.u32()
  if (magic !== MAGIC) throw new LowbitError('LOWBIT_FORMAT', { thing, found: `a file that starts with ${[...bytes.subarray(0, 4)].map((b) => b.toString(16).padStart(2, '0')).join(' ')}`, expected: "'GGUF'" })
  const bigEndian = isBigEndian(start.u32(), thing)
  const cursor = new Cursor(bytes, size, !bigEndian, thing)
  cursor.at = 4
  const version = cursor.u32()
  const tensorCount = cursor.size('a number of tensors')
  const keyCount = cursor.size('a number of keys')
  if (tensorCount > GGUF_LIMITS.tensors) throw new LowbitError('LOWBIT_LIMIT', { thing, found: `${tensorCount} tensors`, expected: `at most ${GGUF_LIMITS.tensors}` })
  if (keyCount > GGUF_LIMITS.keys) throw new LowbitError('LOWBIT_LIMIT', { thing, found: `${keyCount} keys`, expected: `at most ${GGUF_LIMITS.keys}` })
  cursor.expectRoom(keyCount, 13, 'keys')
  const metadata = readMetadata(cursor, keyCount, bigEndian, thing)
  const alignment = alignmentOf(metadata, thing)
  cursor.expectRoom(tensorCount, 24, 'tensors')
  const stated = Array.from({ length: tensorCount }, () => readTensor(cursor, thing))
  const data = Math.ceil(cursor.at / alignment) * alignment
  return { version, bigEndian, alignment, metadata, tensors: placeTensors(stated, data, alignment, size, thing) }
}

function isBigEndian(version: number, thing: string): boolean {
  const swapped = ((version & 255) << 24) | ((version & 0xff00) << 8) | ((version >>> 8) & 0xff00) | (version >>> 24)
  for (const [value, big] of [[version, false], [swapped, true]] as const) {
    if (value === 2 || value === 3) return big
    if (value === 1) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: 'GGUF version 1', expected: 'version 2 or 3', fix: 'convert the model again: llama.cpp dropped version 1 too' })
  }
  throw new LowbitError('LOWBIT_FORMAT', { thing, found: `GGUF version ${version}`, expected: 'version 2 or 3' })
}

function readMetadata(cursor: Cursor, count: number, bigEndian: boolean, thing: string): GgufMetadata {
  const metadata = new Map<string, GgufValue>()
  const budget = { left: GGUF_LIMITS.items }
  for (let i = 0; i < count; i++) {
    const key = cursor.text('a key', GGUF_LIMITS.keyBytes)
    if (metadata.has(key)) throw new LowbitError('LOWBIT_FORMAT', { thing, found: `the key '${key}' twice`, expected: 'each key once' })
    metadata.set(key, readValue({ cursor, thing: `${thing}: '${key}'`, bigEndian, budget }))
  }
  return metadata
}

function alignmentOf(metadata: GgufMetadata, thing: string): number {
  const alignment = metadataNumber(metadata, 'general.alignment') ?? 32
  if (!Number.isInteger(alignment) || alignment < 1 || alignment > GGUF_LIMITS.alignment || !Number.isInteger(Math.log2(alignment))) {
    throw new LowbitError('LOWBIT_FORMAT', { thing: `${thing}: general.alignment`, found: `${alignment}`, expected: `a power of two up to ${GGUF_LIMITS.alignment}` })
  }
  return alignment
}

interface StatedTensor {
  readonly name: string
  readonly typeId: number
  readonly shape: readonly number[]
  /** From the start of the data. */
  readonly offset: number
}

function readTensor(cursor: Cursor, thing: string): StatedTensor {
  const name = cursor.text('the name of a tensor', GGUF_LIMITS.keyBytes)
  const rank = cursor.u32()
  if (rank > GGUF_LIMITS.dimensions) throw new LowbitError('LOWBIT_SHAPE', { thing: `${thing}: tensor '${name}'`, found: `${rank} dimensions`, expected: `at most ${GGUF_LIMITS.dimensions}` })
  const shape = Array.from({ length: rank }, () => cursor.size('a dimension')).reverse()
  return { name, typeId: cursor.u32(), shape, offset: cursor.size('an offset') }
}

function placeTensors(stated: readonly StatedTensor[], data: number, alignment: number, size: number, thing: string): HeaderTensor[] {
  const names = new Set<string>()
  const wide = hasWideQ2(stated, data, alignment, size)
  const placed = stated.map((tensor): HeaderTensor => {
    const { name, typeId, shape } = tensor
    const what = `${thing}: tensor '${name}'`
    if (names.has(name)) throw new LowbitError('LOWBIT_FORMAT', { thing: what, found: 'the same name twice', expected: 'each name once' })
    names.add(name)
    const type = typeOf(typeId, wide, what)
    const length = lengthOf(type, shape, what)
    const offset = data + tensor.offset
    if (tensor.offset % alignment !== 0) throw new LowbitError('LOWBIT_FORMAT', { thing: what, found: `data at ${tensor.offset}`, expected: `a multiple of ${alignment}` })
    if (length > 0 && offset + length > size) throw new LowbitError('LOWBIT_FORMAT', { thing: what, found: `bytes ${offset} to ${offset + length} in a file of ${size}`, expected: 'data inside the file', fix: 'it may be cut short: download it again' })
    return { name, type, shape, offset, length }
  })
  let end = data
  let before = ''
  for (const tensor of placed.filter((t) => t.length > 0).sort((a, b) => a.offset - b.offset)) {
    if (tensor.offset < end) throw new LowbitError('LOWBIT_FORMAT', { thing: `${thing}: tensor '${tensor.name}'`, found: `bytes that '${before}' has too, at ${tensor.offset}`, expected: 'tensors apart from each other' })
    end = tensor.offset + tensor.length
    before = tensor.name
  }
  return placed
}

function typeOf(id: number, wideQ2: boolean, thing: string): GgufType {
  if (wideQ2 && id === Q2_0_128.id) return { name: Q2_0_128.name, id, block: Q2_0_128.block, bytes: Q2_0_128.bytes, blocks: Q2_0_128 }
  const type = GGUF_TYPES.find((t) => t.id === id)
  if (type === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `type ${id}`, expected: `one of ${GGUF_TYPES.map((t) => t.name).join(', ')}`, fix: 'convert the model to one of these types' })
  return type
}

function lengthOf(type: GgufType, shape: readonly number[], thing: string): number {
  const count = elementCount(shape, thing)
  const row = shape.at(-1) ?? 1
  if (row % type.block !== 0) throw new LowbitError('LOWBIT_SHAPE', { thing, found: `${type.name} with rows of ${row}`, expected: `rows that are multiples of ${type.block}` })
  return (count / type.block) * type.bytes
}

/**
 * Type 42 is written with blocks of 64 and of 128 values. The room to the next tensor tells which: tensors lie one after the other with
 * no more than the alignment between them. One tensor that has room for blocks of 128 only decides for the file.
 */
function hasWideQ2(stated: readonly StatedTensor[], data: number, alignment: number, size: number): boolean {
  const narrow = 18 / 64
  const starts = stated.map((t) => t.offset).sort((a, b) => a - b)
  return stated.some(({ typeId, shape, offset }) => {
    if (typeId !== Q2_0_128.id || (shape.at(-1) ?? 1) % 128 !== 0) return false
    const count = shape.reduce((a, b) => a * b, 1)
    const next = starts.find((start) => start > offset)
    const room = (next ?? size - data) - offset
    return room < count * narrow && room >= (count / 128) * Q2_0_128.bytes && (next === undefined || room < (count / 128) * Q2_0_128.bytes + alignment)
  })
}
