import { LowbitError } from '@lowbit/core'
import { MAX_PROTOBUF_BYTES, type OnnxLimits } from './limits.js'
import type { ModelProto } from './proto.js'
import { onnxTypeFacts, onnxTypeOf, type OnnxType, type TypedField } from './types.js'
import { tensorsOf } from './walk.js'
import { Reader } from './wire/reader.js'

/** Numbers in a tensor's typed fields from which they are read here: a parser makes a JavaScript array of them, which has an end. */
export const HEAVY_NUMBERS = 1 << 16

/** A message inside a file that is a tensor with many typed numbers, or has one in it. */
export interface HeavySpan {
  /** Where its length stands, and its content. */
  readonly lengthAt: number
  readonly start: number
  readonly end: number
  /** What is inside of a message that is no tensor. */
  readonly inside?: readonly HeavySpan[]
  /** Numbers of a tensor. */
  readonly count: number
}

/** A file without the numbers of its heavy tensors. */
export interface LightFile {
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Puts the numbers in, as `raw_data`, once the rest is parsed. */
  restore(model: ModelProto): void
}

/** Numbers of the fields in onnx.proto. */
const FIELDS: ReadonlyMap<number, TypedField> = new Map([[4, 'floatData'], [5, 'int32Data'], [7, 'int64Data'], [10, 'doubleData'], [11, 'uint64Data']])
const DATA_TYPE = 2
const RAW_DATA = 9

/**
 * Takes the numbers of heavy tensors out of a file that was scanned: what is left is parsed as ever, and the numbers become
 * `raw_data`, which means the same and takes a quarter or an eighth of the memory.
 * @throws LOWBIT_LIMIT for more than memory holds, LOWBIT_FORMAT for a number that does not fit its type
 */
export function lighten(bytes: Uint8Array<ArrayBuffer>, spans: readonly HeavySpan[], limits: OnnxLimits, thing: string): LightFile {
  if (spans.length === 0) return { bytes, restore: () => {} }
  const taken: { readonly at: number; readonly raw: Uint8Array<ArrayBuffer> }[] = []
  const out = new Pieces()
  let expanded = 0
  const write = (from: number, to: number, inside: readonly HeavySpan[], into: Pieces): void => {
    let at = from
    for (const span of inside) {
      into.add(bytes.subarray(at, span.lengthAt))
      const content = new Pieces()
      const heavy = span.inside === undefined ? takeNumbers(bytes, span, limits, thing) : undefined
      if (span.inside !== undefined) write(span.start, span.end, span.inside, content)
      else if (heavy === undefined) content.add(bytes.subarray(span.start, span.end))
      else {
        expanded += heavy.raw.length
        if (expanded > MAX_PROTOBUF_BYTES) throw new LowbitError('LOWBIT_LIMIT', { thing, found: `more than ${MAX_PROTOBUF_BYTES} bytes of numbers in typed fields`, fix: 'save the model with external data' })
        for (const piece of heavy.rest) content.add(piece)
        // One byte holds the place.
        content.add(Uint8Array.of(RAW_DATA * 8 + 2, 1)).addPlace(heavy.raw)
      }
      into.add(varint(content.size)).append(content)
      at = span.end
    }
    into.add(bytes.subarray(at, to))
  }
  write(0, bytes.length, spans, out)
  const light = out.join(taken)
  return {
    bytes: light,
    restore(model) {
      const places = new Map(taken.map(({ at, raw }) => [light.byteOffset + at, raw]))
      for (const t of tensorsOf(model)) {
        const raw = t.rawData.length === 1 && t.rawData.buffer === light.buffer ? places.get(t.rawData.byteOffset) : undefined
        if (raw === undefined) continue
        places.delete(t.rawData.byteOffset)
        t.rawData = raw
      }
      if (places.size > 0) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: 'a large tensor in a part of the model that lowbit does not look into', expected: 'tensors in graphs and functions' })
    },
  }
}

/** The numbers of a tensor as little-endian bytes, and its other fields; undefined where they have to stay as they are. */
function takeNumbers(bytes: Uint8Array<ArrayBuffer>, span: HeavySpan, limits: OnnxLimits, thing: string): { readonly raw: Uint8Array<ArrayBuffer>; readonly rest: readonly Uint8Array[] } | undefined {
  const rest: Uint8Array[] = []
  const runs: { readonly field: TypedField; readonly packed: boolean; readonly from: number; readonly to: number }[] = []
  const reader = new Reader(bytes, span.start)
  let type: OnnxType | undefined
  let hasRaw = false
  while (reader.at < span.end) {
    const from = reader.at
    const tag = reader.varint()
    const number = Math.floor(tag / 8)
    const field = FIELDS.get(number)
    if (number === DATA_TYPE) {
      type = onnxTypeOf(reader.varint())
      rest.push(bytes.subarray(from, reader.at))
      continue
    }
    const value = reader.at
    const packed = tag % 8 === 2
    reader.skip(tag % 8)
    if (field !== undefined) runs.push({ field, packed, from: value, to: reader.at })
    else {
      hasRaw ||= number === RAW_DATA
      rest.push(bytes.subarray(from, reader.at))
    }
  }
  const facts = type === undefined ? undefined : onnxTypeFacts(type)
  if (facts === undefined || hasRaw || runs.some(({ field }) => field !== facts.field)) {
    // It will be refused when it is read, if it is; parsing it must not end the process.
    if (span.count > limits.numbers) throw new LowbitError('LOWBIT_LIMIT', { thing, found: `${span.count} numbers in typed fields of a tensor of another type`, expected: `at most ${limits.numbers}` })
    return undefined
  }
  const raw = new Uint8Array(span.count * Math.max(1, facts.bits / 8))
  // Codes of less than a byte are packed into bytes without a sign.
  const writer = new NumberWriter(raw, facts.bits < 8 ? 'uint8' : facts.host, facts.field, thing)
  for (const { packed, from, to } of runs) {
    const numbers = new Reader(bytes, from)
    if (packed) numbers.varint()
    writer.take(numbers, to)
  }
  return { raw, rest }
}

/** Element types by how their values are kept in memory. */
type Host = ReturnType<typeof onnxTypeFacts>['host']

class NumberWriter {
  readonly #raw: Uint8Array<ArrayBuffer>
  readonly #view: DataView
  readonly #host: Host
  readonly #field: TypedField
  readonly #thing: string
  #at = 0

  constructor(raw: Uint8Array<ArrayBuffer>, host: Host, field: TypedField, thing: string) {
    this.#raw = raw
    this.#view = new DataView(raw.buffer)
    this.#host = host
    this.#field = field
    this.#thing = thing
  }

  /** Numbers up to a place in the file. */
  take(from: Reader, to: number): void {
    if (this.#field === 'floatData' || this.#field === 'doubleData') {
      this.#raw.set(from.bytes.subarray(from.at, to), this.#at)
      this.#at += to - from.at
      return
    }
    while (from.at < to) {
      from.integer()
      if (this.#host === 'int64' || this.#host === 'uint64') this.#wide(from)
      else this.#narrow(this.#field === 'uint64Data' ? from.high * 2 ** 32 + from.low : from.low | 0)
    }
  }

  #wide({ low, high }: Reader): void {
    this.#view.setUint32(this.#at, low, true)
    this.#view.setUint32(this.#at + 4, high, true)
    this.#at += 8
  }

  #narrow(value: number): void {
    const at = this.#at
    const view = this.#view
    let stored: number
    switch (this.#host) {
      case 'int8':
      case 'uint8':
      case 'float8e4m3fn':
      case 'float8e5m2':
        view.setUint8(at, value)
        stored = this.#host === 'int8' ? view.getInt8(at) : view.getUint8(at)
        this.#at += 1
        break
      case 'bool':
        view.setUint8(at, value === 0 ? 0 : 1)
        stored = value
        this.#at += 1
        break
      case 'int16':
        view.setInt16(at, value, true)
        stored = view.getInt16(at, true)
        this.#at += 2
        break
      case 'uint16':
      case 'float16':
      case 'bfloat16':
        view.setUint16(at, value, true)
        stored = view.getUint16(at, true)
        this.#at += 2
        break
      case 'uint32':
        view.setUint32(at, value, true)
        stored = view.getUint32(at, true)
        this.#at += 4
        break
      default:
        view.setInt32(at, value, true)
        stored = value
        this.#at += 4
    }
    if (stored !== value) throw new LowbitError('LOWBIT_FORMAT', { thing: this.#thing, found: `the value ${value} in a tensor of ${this.#host}`, expected: 'values that fit their element type' })
  }
}

/** Bytes in pieces that are joined once. */
class Pieces {
  readonly #pieces: { readonly bytes: Uint8Array; readonly place?: Uint8Array<ArrayBuffer> }[] = []
  size = 0

  add(bytes: Uint8Array): this {
    if (bytes.length > 0) this.#pieces.push({ bytes })
    this.size += bytes.length
    return this
  }

  addPlace(place: Uint8Array<ArrayBuffer>): this {
    this.#pieces.push({ bytes: new Uint8Array(1), place })
    this.size += 1
    return this
  }

  append(other: Pieces): this {
    for (const piece of other.#pieces) this.#pieces.push(piece)
    this.size += other.size
    return this
  }

  join(places: { readonly at: number; readonly raw: Uint8Array<ArrayBuffer> }[]): Uint8Array<ArrayBuffer> {
    const out = new Uint8Array(this.size)
    let at = 0
    for (const { bytes, place } of this.#pieces) {
      out.set(bytes, at)
      if (place !== undefined) places.push({ at, raw: place })
      at += bytes.length
    }
    return out
  }
}

function varint(value: number): Uint8Array {
  const out: number[] = []
  for (; value >= 128; value = Math.floor(value / 128)) out.push((value % 128) + 128)
  return Uint8Array.from([...out, value])
}
