import { LowbitError } from '@lowbit/core'
import { MAX_PROTOBUF_BYTES, type OnnxLimits } from './limits.js'
import { HEAVY_NUMBERS, type HeavySpan } from './typed-data.js'
import { BITS32, BITS64, BYTES, END_GROUP, START_GROUP, VARINT, type Field, type Schema } from './wire/schema.js'

/** The name in onnx.proto, which a reader of an error may look up. */
const nameOf = (field: Field): string => field.name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/**
 * Walks a protobuf file by its schema and checks every length, wire type, nesting and count before a parser allocates for it.
 *
 * The parser underneath trusts wire types and multiplies small inputs: two bytes in the file can become an object of several
 * hundred. This pass allocates nothing and steps over bytes fields without looking at them.
 * @returns the tensors whose numbers are too many for the parser, and the messages around them
 * @throws LOWBIT_FORMAT for bytes that are no such message, LOWBIT_LIMIT for more of anything than {@link OnnxLimits} allows.
 */
export function scanProtobuf(root: Schema, bytes: Uint8Array, limits: OnnxLimits, thing: string): readonly HeavySpan[] {
  let pos = 0
  let messages = 0
  let numbers = 0
  let bigints = 0

  const fail = (found: string): never => {
    throw new LowbitError('LOWBIT_FORMAT', { thing, found: `${found} at byte ${pos}`, expected: 'an ONNX model', fix: 'check that the file is complete and really ONNX' })
  }
  const over = (what: keyof OnnxLimits): never => {
    throw new LowbitError('LOWBIT_LIMIT', { thing, found: `more ${what} than ${limits[what]} at byte ${pos}`, fix: `pass limits: { ${what}: … } if you trust this file` })
  }
  /** A varint below 2^53; longer ones are skipped over as a value of no interest. */
  const varint = (end: number): number => {
    let value = 0
    let scale = 1
    for (let i = 0; i < 10; i++) {
      if (pos >= end) return fail('the file ends inside a number')
      const byte = bytes[pos++]
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
      scale *= 128
    }
    return fail('a number of more than ten bytes')
  }
  const skip = (count: number, end: number): void => {
    if (count > end - pos) fail(`a length of ${count} where ${end - pos} bytes are left`)
    pos += count
  }
  const countMessage = (): void => {
    if (++messages > limits.messages) over('messages')
  }
  /** Elements of the tensor that is walked now; they count for all if they are few. */
  let elements = 0
  let wideElements = 0
  const countNumbers = (field: Field, count: number, inTensor: boolean): void => {
    const wide = field.kind === 'int64' || field.kind === 'uint64'
    if (field.kind === 'bytes') countMessage()
    else if (inTensor && field.packed) {
      if (wide) wideElements += count
      else elements += count
    } else if (wide) bigints += count
    else numbers += count
    checkNumbers()
  }
  const checkNumbers = (): void => {
    if (bigints > limits.bigints) over('bigints')
    if (numbers > limits.numbers) over('numbers')
  }

  const skipGroup = (number: number, end: number, depth: number): void => {
    if (depth > limits.nesting) over('nesting')
    for (;;) {
      const tag = varint(end)
      const wire = tag % 8
      if (wire === END_GROUP) {
        if (Math.floor(tag / 8) !== number) fail('a group that ends as another one')
        return
      }
      skipValue(wire, Math.floor(tag / 8), end, depth)
    }
  }
  const skipValue = (wire: number, number: number, end: number, depth: number): void => {
    if (wire === VARINT) varint(end)
    else if (wire === BITS64) skip(8, end)
    else if (wire === BITS32) skip(4, end)
    else if (wire === BYTES) skip(varint(end), end)
    else if (wire === START_GROUP) skipGroup(number, end, depth + 1)
    else fail(`wire type ${wire}`)
  }
  const packed = (field: Field, end: number, inTensor: boolean): void => {
    const length = varint(end)
    if (length > end - pos) fail(`a length of ${length} in ${nameOf(field)} where ${end - pos} bytes are left`)
    const stop = pos + length
    if (field.wire !== VARINT) {
      const size = field.wire === BITS64 ? 8 : 4
      if (length % size !== 0) fail(`${length} bytes of ${size}-byte numbers in ${nameOf(field)}`)
      countNumbers(field, length / size, inTensor)
      pos = stop
      return
    }
    let count = 0
    while (pos < stop) {
      varint(stop)
      count++
    }
    countNumbers(field, count, inTensor)
  }

  const message = (schema: Schema, lengthAt: number, end: number, depth: number): HeavySpan | undefined => {
    countMessage()
    if (depth > limits.nesting) over('nesting')
    const start = pos
    const isTensor = schema.name === 'TensorProto'
    const inside: HeavySpan[] = []
    if (isTensor) {
      elements = 0
      wideElements = 0
    }
    while (pos < end) {
      const tag = varint(end)
      const number = Math.floor(tag / 8)
      const wire = tag % 8
      if (number < 1 || tag > 0xffffffff) fail(`field number ${number}`)
      const field = schema.byNumber.get(number)
      if (field === undefined) {
        countMessage()
        skipValue(wire, number, end, depth)
      } else if (wire !== field.wire) {
        if (!(field.list && wire === BYTES)) fail(`wire type ${wire} in ${schema.name}.${nameOf(field)}`)
        packed(field, end, isTensor)
      } else if (field.child !== undefined) {
        const at = pos
        const length = varint(end)
        if (length > end - pos) fail(`a length of ${length} in ${schema.name}.${nameOf(field)} where ${end - pos} bytes are left`)
        const found = message(field.child, at, pos + length, depth + 1)
        if (found !== undefined) inside.push(found)
      } else {
        if (field.list) countNumbers(field, 1, isTensor)
        skipValue(wire, number, end, depth)
      }
    }
    if (!isTensor) return inside.length === 0 ? undefined : { lengthAt, start, end, inside, count: 0 }
    if (elements + wideElements >= HEAVY_NUMBERS) return { lengthAt, start, end, count: elements + wideElements }
    numbers += elements
    bigints += wideElements
    checkNumbers()
    return undefined
  }

  if (bytes.length === 0) fail('an empty file')
  if (bytes.length > MAX_PROTOBUF_BYTES) {
    throw new LowbitError('LOWBIT_LIMIT', { thing, found: `${bytes.length} bytes`, expected: 'at most 2 GiB, the limit of protobuf', fix: 'keep the weights in an external data file' })
  }
  return message(root, 0, bytes.length, 1)?.inside ?? []
}
