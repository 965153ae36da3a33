import { elementCount, LowbitError } from '@lowbit/core'
import { GGUF_LIMITS } from './limits.js'
import { GGUF_NUMBER_ARRAYS, type GgufArray, type GgufMetadata, type GgufNumberType, type GgufValue } from './metadata.js'
import { VALUE_TYPES } from './read-metadata.js'
import { GGUF_TYPES, type GgufType } from './types.js'

/** A tensor to be written. */
export interface GgufTensorSource {
  readonly name: string
  /** `F32`, `Q4_K`, …: any type of GGUF, its bytes are written as they are. */
  readonly type: string
  /** Outermost first. */
  readonly shape: readonly number[]
  /** The bytes, little endian, when their turn comes: whole or in pieces. */
  data(): Promise<Uint8Array> | AsyncIterable<Uint8Array>
}

/** A model to be written. */
export interface GgufModel {
  /** In the order of the file. `general.alignment` is written as the options say. */
  readonly metadata: GgufMetadata
  readonly tensors: readonly GgufTensorSource[]
}

export interface WriteGgufOptions {
  /** Tensors start at multiples of this: a power of two. Default 32. */
  readonly alignment?: number
  readonly signal?: AbortSignal
}

/**
 * A GGUF file of version 3, little endian, in pieces: the head, then one tensor after the other, each asked for when its turn comes.
 * @throws LOWBIT_ARGUMENT, LOWBIT_SHAPE, LOWBIT_UNSUPPORTED before the first piece; LOWBIT_SHAPE if a tensor's bytes are not what its type and shape ask for, LOWBIT_ABORTED.
 */
export async function* writeGguf(model: GgufModel, options: WriteGgufOptions = {}): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const { alignment = 32, signal } = options
  const { head, parts } = planGguf(model, alignment)
  yield head
  let at = head.length
  for (const { tensor, length } of parts) {
    if (signal?.aborted) throw new LowbitError('LOWBIT_ABORTED', { thing: `tensor '${tensor.name}'`, found: 'stopped on request', cause: signal.reason })
    let written = 0
    const data = tensor.data()
    for await (const piece of Symbol.asyncIterator in data ? data : whole(data)) {
      written += piece.length
      if (written > length) break
      yield new Uint8Array(piece.buffer as ArrayBuffer, piece.byteOffset, piece.length)
    }
    if (written !== length) throw new LowbitError('LOWBIT_SHAPE', { thing: `tensor '${tensor.name}'`, found: `${written > length ? 'more than ' : ''}${Math.min(written, length)} bytes`, expected: `${length} for ${tensor.type} [${tensor.shape.join(', ')}]` })
    at += length
    const padding = -at & (alignment - 1)
    if (padding > 0) yield new Uint8Array(padding)
    at += padding
  }
}

async function* whole(data: Promise<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield await data
}

/** Bytes of the whole file. @throws As {@link writeGguf} before its first piece. */
export function ggufSize(model: GgufModel, alignment = 32): number {
  const { head, parts } = planGguf(model, alignment)
  return parts.reduce((sum, { length }) => sum + Math.ceil(length / alignment) * alignment, head.length)
}

interface Part {
  readonly tensor: GgufTensorSource
  readonly type: GgufType
  readonly length: number
  /** From the start of the data. */
  readonly offset: number
}

function planGguf(model: GgufModel, alignment: number): { readonly head: Uint8Array<ArrayBuffer>; readonly parts: readonly Part[] } {
  if (!Number.isInteger(Math.log2(alignment)) || alignment < 8 || alignment > GGUF_LIMITS.alignment) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'alignment', found: String(alignment), expected: `a power of two from 8 to ${GGUF_LIMITS.alignment}` })
  const parts = placeParts(model.tensors, alignment)
  const metadata = new Map(model.metadata)
  if (alignment === 32) metadata.delete('general.alignment')
  else metadata.set('general.alignment', { type: 'uint32', value: alignment })
  const out = new Head()
  out.bytes(Uint8Array.of(0x47, 0x47, 0x55, 0x46))
  out.u32(3)
  out.u64(parts.length)
  out.u64(metadata.size)
  for (const [key, value] of metadata) {
    out.text(key)
    writeValue(out, key, value)
  }
  for (const { tensor, type, offset } of parts) {
    out.text(tensor.name)
    out.u32(tensor.shape.length)
    for (const size of [...tensor.shape].reverse()) out.u64(size)
    out.u32(type.id)
    out.u64(offset)
  }
  return { head: out.padded(alignment), parts }
}

function placeParts(tensors: readonly GgufTensorSource[], alignment: number): Part[] {
  const names = new Set<string>()
  let offset = 0
  return tensors.map((tensor) => {
    const thing = `tensor '${tensor.name}'`
    if (names.has(tensor.name) || tensor.name === '') throw new LowbitError('LOWBIT_ARGUMENT', { thing, found: tensor.name === '' ? 'no name' : 'the same name twice', expected: 'a name of its own for each tensor' })
    names.add(tensor.name)
    const type = GGUF_TYPES.find((t) => t.name === tensor.type)
    if (type === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `type ${tensor.type}`, expected: GGUF_TYPES.map((t) => t.name).join(', ') })
    const count = elementCount(tensor.shape, thing)
    if (tensor.shape.length > GGUF_LIMITS.dimensions || (tensor.shape.at(-1) ?? 1) % type.block !== 0) {
      throw new LowbitError('LOWBIT_SHAPE', { thing, found: `${tensor.type} [${tensor.shape.join(', ')}]`, expected: `at most ${GGUF_LIMITS.dimensions} dimensions, the last a multiple of ${type.block}` })
    }
    const length = (count / type.block) * type.bytes
    const part: Part = { tensor, type, length, offset }
    offset += Math.ceil(length / alignment) * alignment
    return part
  })
}

/** Grows as it is written: a vocabulary is some megabytes. */
class Head {
  #bytes = new Uint8Array(1 << 16)
  #view = new DataView(this.#bytes.buffer)
  #at = 0

  #room(length: number): number {
    const at = this.#at
    this.#at += length
    if (this.#at > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.#at))
      larger.set(this.#bytes)
      this.#bytes = larger
      this.#view = new DataView(larger.buffer)
    }
    return at
  }

  // Room first in all of these: it may move the bytes, and the view with them.
  u8(value: number): void {
    const at = this.#room(1)
    this.#view.setUint8(at, value)
  }

  u32(value: number): void {
    const at = this.#room(4)
    this.#view.setUint32(at, value, true)
  }

  u64(value: number | bigint): void {
    const at = this.#room(8)
    this.#view.setBigUint64(at, BigInt(value), true)
  }

  bytes(bytes: Uint8Array): void {
    const at = this.#room(bytes.length)
    this.#bytes.set(bytes, at)
  }

  text(text: string): void {
    const bytes = new TextEncoder().encode(text)
    this.u64(bytes.length)
    this.bytes(bytes)
  }

  padded(alignment: number): Uint8Array<ArrayBuffer> {
    this.#room(-this.#at & (alignment - 1))
    return this.#bytes.subarray(0, this.#at)
  }
}

function writeValue(out: Head, key: string, value: GgufValue): void {
  out.u32(VALUE_TYPES.indexOf(value.type))
  if (value.type === 'string') out.text(value.value)
  else if (value.type === 'bool') out.u8(Number(value.value))
  else if (value.type === 'array') writeArray(out, key, value)
  else out.bytes(numberBytes(value.type, [value.value]))
}

function writeArray(out: Head, key: string, array: GgufArray): void {
  if (array.items === 'array') throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `metadata '${key}'`, found: 'lists inside a list', expected: 'a list of values: llama.cpp refuses files with nested lists' })
  out.u32(VALUE_TYPES.indexOf(array.items))
  out.u64(array.value.length)
  if (array.items === 'string') array.value.forEach((text) => out.text(text))
  else if (array.items === 'bool') array.value.forEach((flag) => out.u8(Number(flag)))
  else out.bytes(new Uint8Array(array.value.buffer, array.value.byteOffset, array.value.byteLength))
}

function numberBytes(type: GgufNumberType, [value]: readonly [number | bigint]): Uint8Array {
  if (type === 'uint64' || type === 'int64') return new Uint8Array(GGUF_NUMBER_ARRAYS[type].of(BigInt(value)).buffer)
  return new Uint8Array(GGUF_NUMBER_ARRAYS[type].of(Number(value)).buffer)
}
