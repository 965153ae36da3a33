import { LowbitError } from '@lowbit/core'
import type { Cursor } from './cursor.js'
import { GGUF_LIMITS } from './limits.js'
import { GGUF_NUMBER_ARRAYS, type GgufArray, type GgufNumberType, type GgufValue } from './metadata.js'
import { swapBytes } from './swap.js'

/** Types of metadata values by their number in the file. */
export const VALUE_TYPES = ['uint8', 'int8', 'uint16', 'int16', 'uint32', 'int32', 'float32', 'bool', 'string', 'array', 'uint64', 'int64', 'float64'] as const

type ValueType = (typeof VALUE_TYPES)[number]

/** What is left of the items that all lists together may have. */
export interface ItemBudget {
  left: number
}

export interface MetadataReader {
  readonly cursor: Cursor
  readonly thing: string
  readonly bigEndian: boolean
  readonly budget: ItemBudget
}

function readType({ cursor, thing }: MetadataReader): ValueType {
  const id = cursor.u32()
  const type = VALUE_TYPES[id]
  if (type === undefined) throw new LowbitError('LOWBIT_FORMAT', { thing, found: `a value of type ${id}`, expected: `a type from 0 to ${VALUE_TYPES.length - 1}` })
  return type
}

function readFlag({ cursor, thing }: MetadataReader): boolean {
  const byte = cursor.u8()
  if (byte > 1) throw new LowbitError('LOWBIT_FORMAT', { thing, found: `a flag of ${byte}`, expected: '0 or 1' })
  return byte === 1
}

/** A value of metadata, its type before it. */
export function readValue(reader: MetadataReader): GgufValue {
  const { cursor } = reader
  const type = readType(reader)
  switch (type) {
    case 'string': return { type, value: cursor.text('a text') }
    case 'bool': return { type, value: readFlag(reader) }
    case 'array': return readArray(reader, 1)
    case 'uint64': return { type, value: cursor.u64() }
    case 'int64': return { type, value: cursor.i64() }
    case 'uint8': return { type, value: cursor.u8() }
    case 'int8': return { type, value: cursor.i8() }
    case 'uint16': return { type, value: cursor.u16() }
    case 'int16': return { type, value: cursor.i16() }
    case 'uint32': return { type, value: cursor.u32() }
    case 'int32': return { type, value: cursor.i32() }
    case 'float32': return { type, value: cursor.f32() }
    case 'float64': return { type, value: cursor.f64() }
  }
}

function readArray(reader: MetadataReader, depth: number): GgufArray {
  const { cursor, thing } = reader
  if (depth > GGUF_LIMITS.nesting) throw new LowbitError('LOWBIT_LIMIT', { thing, found: `lists nested ${depth} deep`, expected: `at most ${GGUF_LIMITS.nesting}` })
  const items = readType(reader)
  const count = cursor.size('a list')
  if (items === 'string' || items === 'bool' || items === 'array') {
    cursor.expectRoom(count, items === 'string' ? 8 : items === 'bool' ? 1 : 12, `items (${items})`)
    reader.budget.left -= count
    if (reader.budget.left < 0) throw new LowbitError('LOWBIT_LIMIT', { thing, found: `a list of ${count} ${items}`, expected: `at most ${GGUF_LIMITS.items} in all lists together` })
    if (items === 'string') return { type: 'array', items, value: Array.from({ length: count }, () => cursor.text('a text')) }
    if (items === 'bool') return { type: 'array', items, value: Array.from({ length: count }, () => readFlag(reader)) }
    return { type: 'array', items, value: Array.from({ length: count }, () => readArray(reader, depth + 1)) }
  }
  return readNumbers(reader, items, count)
}

function readNumbers({ cursor, bigEndian }: MetadataReader, items: GgufNumberType, count: number): GgufArray {
  const width = GGUF_NUMBER_ARRAYS[items].BYTES_PER_ELEMENT
  cursor.expectRoom(count, width, `items (${items})`)
  const bytes = cursor.raw(count * width, `a list of ${items}`)
  if (bigEndian) swapBytes(bytes, width)
  const make: new (buffer: ArrayBuffer) => InstanceType<(typeof GGUF_NUMBER_ARRAYS)[GgufNumberType]> = GGUF_NUMBER_ARRAYS[items]
  return { type: 'array', items, value: new make(bytes.buffer) } as GgufArray
}
