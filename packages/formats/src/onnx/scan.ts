import { ScalarType, type DescField, type DescMessage } from '@bufbuild/protobuf'
import { LowbitError } from '@lowbit/core'
import { MAX_PROTOBUF_BYTES, type OnnxLimits } from './limits.js'
import { TensorProtoSchema } from './proto.js'
import { HEAVY_NUMBERS, type HeavySpan } from './typed-data.js'

const VARINT = 0
const BITS64 = 1
const BYTES = 2
const START_GROUP = 3
const END_GROUP = 4
const BITS32 = 5

interface FieldPlan {
  readonly name: string
  readonly wire: number
  readonly repeated: boolean
  readonly child?: DescMessage
  readonly wide: boolean
  /** Bytes one by one, which become objects. */
  readonly blobs: boolean
}

/** Fields of a tensor that hold its elements as numbers. */
const ELEMENTS: readonly string[] = ['float_data', 'int32_data', 'int64_data', 'double_data', 'uint64_data']

function wireOf(field: DescField): number {
  if (field.fieldKind === 'message') return BYTES
  if (field.fieldKind === 'enum') return VARINT
  if (field.fieldKind === 'list' && field.listKind !== 'scalar') return field.listKind === 'message' ? BYTES : VARINT
  if (field.fieldKind === 'map') return BYTES
  switch (field.scalar) {
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return BITS64
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return BITS32
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return BYTES
    default:
      return VARINT
  }
}

function planOf(desc: DescMessage): Map<number, FieldPlan> {
  const plan = new Map<number, FieldPlan>()
  for (const field of desc.fields) {
    const child = field.fieldKind === 'message' || (field.fieldKind === 'list' && field.listKind === 'message') ? field.message : undefined
    const wide = 'scalar' in field && (field.scalar === ScalarType.INT64 || field.scalar === ScalarType.UINT64)
    plan.set(field.number, { name: field.name, wire: wireOf(field), repeated: field.fieldKind === 'list', wide, blobs: field.fieldKind === 'list' && field.listKind === 'scalar' && field.scalar === ScalarType.BYTES, ...(child ? { child } : {}) })
  }
  return plan
}

/**
 * Walks a protobuf file by its schema and checks every length, wire type, nesting and count before a parser allocates for it.
 *
 * The parser underneath trusts wire types and multiplies small inputs: two bytes in the file can become an object of several
 * hundred. This pass allocates nothing and steps over bytes fields without looking at them.
 * @returns the tensors whose numbers are too many for the parser, and the messages around them
 * @throws LOWBIT_FORMAT for bytes that are no such message, LOWBIT_LIMIT for more of anything than {@link OnnxLimits} allows.
 */
export function scanProtobuf(root: DescMessage, bytes: Uint8Array, limits: OnnxLimits, thing: string): readonly HeavySpan[] {
  const plans = new Map<DescMessage, Map<number, FieldPlan>>()
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
  const countNumbers = (plan: FieldPlan, count: number, inTensor: boolean): void => {
    if (plan.blobs) countMessage()
    else if (inTensor && ELEMENTS.includes(plan.name)) {
      if (plan.wide) wideElements += count
      else elements += count
    } else if (plan.wide) bigints += count
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
  const packed = (plan: FieldPlan, end: number, inTensor: boolean): void => {
    const length = varint(end)
    if (length > end - pos) fail(`a length of ${length} in ${plan.name} where ${end - pos} bytes are left`)
    const stop = pos + length
    if (plan.wire !== VARINT) {
      const size = plan.wire === BITS64 ? 8 : 4
      if (length % size !== 0) fail(`${length} bytes of ${size}-byte numbers in ${plan.name}`)
      countNumbers(plan, length / size, inTensor)
      pos = stop
      return
    }
    let count = 0
    while (pos < stop) {
      varint(stop)
      count++
    }
    countNumbers(plan, count, inTensor)
  }

  const message = (desc: DescMessage, lengthAt: number, end: number, depth: number): HeavySpan | undefined => {
    countMessage()
    if (depth > limits.nesting) over('nesting')
    let plan = plans.get(desc)
    if (plan === undefined) plans.set(desc, (plan = planOf(desc)))
    const start = pos
    const isTensor = desc === TensorProtoSchema
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
      const field = plan.get(number)
      if (field === undefined) {
        countMessage()
        skipValue(wire, number, end, depth)
      } else if (wire !== field.wire) {
        if (!(field.repeated && wire === BYTES)) fail(`wire type ${wire} in ${desc.name}.${field.name}`)
        packed(field, end, isTensor)
      } else if (field.child !== undefined) {
        const at = pos
        const length = varint(end)
        if (length > end - pos) fail(`a length of ${length} in ${desc.name}.${field.name} where ${end - pos} bytes are left`)
        const found = message(field.child, at, pos + length, depth + 1)
        if (found !== undefined) inside.push(found)
      } else {
        if (field.repeated) countNumbers(field, 1, isTensor)
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
