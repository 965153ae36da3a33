import { LowbitError } from '@lowbit/core'
import type { Chunks } from '../../bytes/chunks.js'
import type { OpenMessage } from './create.js'
import type { AnyMessage } from './messages.js'
import { BITS32, BITS64, BYTES, type Field, type Schema } from './schema.js'

/** Bytes of a field from which it is passed through as it is, instead of being copied. */
const BIG = 1 << 16

const encoder = new TextEncoder()

/**
 * The bytes of a message in pieces, large bytes fields as they are. Fields come in the order of their numbers, as protobuf libraries
 * write them; unknown fields follow.
 * @param limit - bytes it may have
 * @throws LOWBIT_LIMIT for more, before anything is allocated; LOWBIT_ARGUMENT for a value that its field cannot hold
 */
export function encode(schema: Schema, message: AnyMessage, limit: number): Chunks {
  if (!isMessage(message)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'message', found: typeof message, expected: `onnx.${schema.name}` })
  const sizes = new Map<object, number>()
  const size = sizeOf(schema, message, sizes)
  if (size > limit) throw new LowbitError('LOWBIT_LIMIT', { thing: 'model', found: `${size} bytes`, expected: 'at most 2 GiB', fix: 'save it with external data' })
  const out = new Writer(sizes)
  out.message(schema, message)
  return { chunks: out.finish(), size }
}

/** Values of a field that are set: none, one, or the items of a list. */
function valuesOf(field: Field, message: OpenMessage): readonly unknown[] {
  const at = field.choice ?? field.name
  const value = Object.hasOwn(message, at) ? message[at] : undefined
  if (value === undefined) return NONE
  if (field.choice !== undefined) return typeof value === 'object' && value !== null && 'case' in value && value.case === field.name && 'value' in value ? [value.value] : NONE
  if (field.list) return Array.isArray(value) ? value : NONE
  return [value]
}

const NONE: readonly unknown[] = []

function sizeOf(schema: Schema, message: OpenMessage, sizes: Map<object, number>): number {
  const known = sizes.get(message)
  if (known !== undefined) return known
  let size = 0
  for (const field of schema.fields) {
    const values = valuesOf(field, message)
    if (values.length === 0) continue
    const tag = varintSize(field.number * 8)
    if (field.packed) {
      const content = packedSize(field, values)
      sizes.set(values, content)
      size += tag + varintSize(content) + content
    } else for (const value of values) size += tag + valueSize(field, value, sizes)
  }
  for (const { no, data } of message.$unknown ?? []) size += varintSize(no * 8) + data.length
  sizes.set(message, size)
  return size
}

function packedSize(field: Field, values: readonly unknown[]): number {
  if (field.wire === BITS32) return 4 * values.length
  if (field.wire === BITS64) return 8 * values.length
  return values.reduce((sum: number, value) => sum + integerSize(value), 0)
}

function valueSize(field: Field, value: unknown, sizes: Map<object, number>): number {
  if (field.wire === BITS32) return 4
  if (field.wire === BITS64) return 8
  if (field.wire !== BYTES) return integerSize(value)
  const content = field.child !== undefined && isMessage(value) ? sizeOf(field.child, value, sizes) : typeof value === 'string' ? utf8Size(value) : bytesIn(value).length
  return varintSize(content) + content
}

function isMessage(value: unknown): value is OpenMessage {
  return typeof value === 'object' && value !== null && '$typeName' in value
}

function bytesIn(value: unknown): Uint8Array<ArrayBuffer> {
  if (!(value instanceof Uint8Array)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'message', found: `${typeof value} in a field of bytes`, expected: 'a Uint8Array' })
  return isPlain(value) ? value : new Uint8Array(value)
}

function isPlain(bytes: Uint8Array): bytes is Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer
}

function varintSize(value: number): number {
  let size = 1
  for (; value >= 128; value = Math.floor(value / 128)) size++
  return size
}

/** @throws LOWBIT_ARGUMENT for what is no whole number of 64 bits */
function whole(value: unknown): number | bigint {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value
  if (typeof value === 'bigint' && value < 1n << 64n && value >= -(1n << 63n)) return value
  throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'message', found: `the value ${String(value)}`, expected: 'a whole number of 64 bits' })
}

/** Bytes of a whole number; one below zero has ten. */
function integerSize(value: unknown): number {
  const given = whole(value)
  if (given < 0) return 10
  return given <= Number.MAX_SAFE_INTEGER ? varintSize(Number(given)) : given < 1n << 56n ? 8 : given < 1n << 63n ? 9 : 10
}

/** Bytes of a text in UTF-8; a lone surrogate becomes U+FFFD, as the encoder of the platform writes it. */
function utf8Size(text: string): number {
  let size = text.length
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x80) continue
    if (code < 0x800) size++
    else {
      size += 2
      if (code >= 0xd800 && code < 0xdc00 && text.charCodeAt(i + 1) >= 0xdc00 && text.charCodeAt(i + 1) < 0xe000) i++
    }
  }
  return size
}

/** Bytes that are allocated at a time. */
const PIECE = 1 << 14

/** Writes into pieces, between which large fields stand as they are. */
class Writer {
  readonly #sizes: ReadonlyMap<object, number>
  readonly #chunks: Uint8Array<ArrayBuffer>[] = []
  #piece = new Uint8Array(PIECE)
  #view = new DataView(this.#piece.buffer)
  #at = 0

  constructor(sizes: ReadonlyMap<object, number>) {
    this.#sizes = sizes
  }

  finish(): Uint8Array<ArrayBuffer>[] {
    this.#flush()
    return this.#chunks
  }

  message(schema: Schema, message: OpenMessage): void {
    for (const field of schema.fields) {
      const values = valuesOf(field, message)
      if (values.length === 0) continue
      if (field.packed) {
        this.#varint(field.number * 8 + BYTES)
        this.#varint(this.#sizes.get(values) ?? 0)
        for (const value of values) this.#value(field, value)
      } else {
        for (const value of values) {
          this.#varint(field.number * 8 + field.wire)
          this.#value(field, value)
        }
      }
    }
    for (const { no, wireType, data } of message.$unknown ?? []) {
      this.#varint(no * 8 + wireType)
      this.#bytes(data)
    }
  }

  #value(field: Field, value: unknown): void {
    switch (field.kind) {
      case 'message':
        if (field.child === undefined || !isMessage(value)) return
        this.#varint(this.#sizes.get(value) ?? 0)
        this.message(field.child, value)
        return
      case 'string': {
        const text = String(value)
        const size = utf8Size(text)
        this.#varint(size)
        this.#room(size)
        if (size === text.length) for (let i = 0; i < size; i++) this.#piece[this.#at + i] = text.charCodeAt(i)
        else encoder.encodeInto(text, this.#piece.subarray(this.#at))
        this.#at += size
        return
      }
      case 'bytes': {
        const bytes = bytesIn(value)
        this.#varint(bytes.length)
        this.#bytes(bytes)
        return
      }
      case 'float':
        this.#room(4)
        this.#view.setFloat32(this.#at, single(value), true)
        this.#at += 4
        return
      case 'double':
        this.#room(8)
        this.#view.setFloat64(this.#at, Number(value), true)
        this.#at += 8
        return
      default: {
        const given = whole(value)
        if (given >= 0 && given <= Number.MAX_SAFE_INTEGER) this.#varint(Number(given))
        else this.#wide(BigInt.asUintN(64, BigInt(given)))
      }
    }
  }

  #bytes(bytes: Uint8Array<ArrayBuffer>): void {
    if (bytes.length >= BIG) {
      this.#flush()
      this.#chunks.push(bytes)
      return
    }
    this.#room(bytes.length)
    this.#piece.set(bytes, this.#at)
    this.#at += bytes.length
  }

  #varint(value: number): void {
    this.#room(10)
    for (; value >= 128; value = Math.floor(value / 128)) this.#piece[this.#at++] = (value % 128) + 128
    this.#piece[this.#at++] = value
  }

  #wide(value: bigint): void {
    this.#room(10)
    for (; value >= 128n; value >>= 7n) this.#piece[this.#at++] = Number(value & 127n) + 128
    this.#piece[this.#at++] = Number(value)
  }

  #room(bytes: number): void {
    if (this.#piece.length - this.#at >= bytes) return
    this.#flush()
    this.#piece = new Uint8Array(Math.max(bytes, PIECE))
    this.#view = new DataView(this.#piece.buffer)
  }

  #flush(): void {
    if (this.#at === 0) return
    this.#chunks.push(this.#piece.subarray(0, this.#at))
    this.#piece = this.#piece.subarray(this.#at)
    this.#view = new DataView(this.#piece.buffer, this.#piece.byteOffset)
    this.#at = 0
  }
}

function single(value: unknown): number {
  const given = Number(value)
  if (Number.isFinite(given) && !Number.isFinite(Math.fround(given))) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'message', found: `the value ${given}`, expected: 'a number that float32 holds' })
  return given
}
