import { blank, type OpenMessage } from './create.js'
import type { Message, MessageName } from './messages.js'
import { Reader } from './reader.js'
import type { Field, Schema } from './schema.js'

/**
 * A message from the bytes of a file in which a scan found every length, wire type and count sound. Bytes fields are views;
 * unknown fields, and values that an enumeration does not have, are kept.
 */
export function decode<N extends MessageName>(schema: Schema<N>, bytes: Uint8Array<ArrayBuffer>): Message<N>
export function decode(schema: Schema, bytes: Uint8Array<ArrayBuffer>): OpenMessage {
  const message = blank(schema)
  fill(message, schema, new Reader(bytes, 0), bytes.length)
  return message
}

function fill(message: OpenMessage, schema: Schema, from: Reader, end: number): void {
  while (from.at < end) {
    const tag = from.varint()
    const wire = tag % 8
    const number = Math.floor(tag / 8)
    const field = schema.byNumber.get(number)
    const start = from.at
    if (field === undefined) {
      from.skip(wire)
      keepUnknown(message, number, wire, from.bytes.subarray(start, from.at))
    } else if (wire !== field.wire) {
      // What is left for another wire type is a run of numbers.
      const items = listOf(message, field)
      const length = from.varint()
      const stop = from.at + length
      while (from.at < stop) items.push(valueOf(field, from))
    } else if (field.child !== undefined) {
      const child = place(message, field, field.child)
      const length = from.varint()
      fill(child, field.child, from, from.at + length)
    } else if (field.list) listOf(message, field).push(valueOf(field, from))
    else {
      const value = valueOf(field, from)
      if (field.kind === 'enum' && !isKnown(field, value)) keepUnknown(message, number, wire, from.bytes.subarray(start, from.at))
      else if (field.choice !== undefined) message[field.choice] = { case: field.name, value }
      else message[field.name] = value
    }
  }
}

function isKnown(field: Field, value: unknown): boolean {
  return typeof value === 'number' && value >= 0 && value < field.values
}

function keepUnknown(message: OpenMessage, no: number, wireType: number, data: Uint8Array<ArrayBuffer>): void {
  message.$unknown ??= []
  message.$unknown.push({ no, wireType, data })
}

function listOf(message: OpenMessage, field: Field): unknown[] {
  const list = message[field.name]
  return Array.isArray(list) ? list : []
}

/** Where a message inside of another goes: a new one in a list, else the one that is there, since protobuf merges. */
function place(message: OpenMessage, field: Field, schema: Schema): OpenMessage {
  if (field.list) {
    const child = blank(schema)
    listOf(message, field).push(child)
    return child
  }
  if (field.choice === undefined) {
    const there = message[field.name]
    if (isOpen(there)) return there
    const child = blank(schema)
    message[field.name] = child
    return child
  }
  const there = message[field.choice]
  if (isCaseOf(there, field.name)) return there.value
  const value = blank(schema)
  message[field.choice] = { case: field.name, value }
  return value
}

function isOpen(value: unknown): value is OpenMessage {
  return typeof value === 'object' && value !== null && '$typeName' in value
}

function isCaseOf(value: unknown, name: string): value is { readonly value: OpenMessage } {
  return typeof value === 'object' && value !== null && 'case' in value && value.case === name && 'value' in value && isOpen(value.value)
}

function valueOf(field: Field, from: Reader): unknown {
  switch (field.kind) {
    case 'string':
      return from.string()
    case 'bytes':
      return from.span()
    case 'float':
      return from.float()
    case 'double':
      return from.double()
    case 'int64':
      return from.int64()
    case 'uint64':
      return from.uint64()
    default:
      from.integer()
      return from.low | 0
  }
}
