import { isLowbitError } from '@lowbit/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { onnxTypeFacts, readOnnx, tensorsOf, tensorToHost, writeOnnx, type OnnxType } from '@lowbit/formats'
import { HEAVY_NUMBERS } from '../src/onnx/typed-data.js'

const FIELD_NUMBERS = { floatData: 4, int32Data: 5, int64Data: 7, doubleData: 10, uint64Data: 11 }

type How = 'packed' | 'single' | 'both'

function varint(value: number | bigint): number[] {
  const out: number[] = []
  let rest = BigInt.asUintN(64, BigInt(value))
  for (; rest >= 128n; rest /= 128n) out.push(Number(rest % 128n) + 128)
  return [...out, Number(rest)]
}

function concat(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, p) => sum + p.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

const field = (number: number, content: Uint8Array | readonly number[]): Uint8Array => concat(varint(number * 8 + 2), varint(content.length), content)

/** One element as its field has it. */
function encode(type: OnnxType, value: number): number[] {
  const view = new DataView(new ArrayBuffer(8))
  const { field: kind } = onnxTypeFacts(type)
  if (kind !== 'floatData' && kind !== 'doubleData') return varint(value)
  if (kind === 'floatData') view.setFloat32(0, value, true)
  else view.setFloat64(0, value, true)
  return [...new Uint8Array(view.buffer, 0, kind === 'floatData' ? 4 : 8)]
}

/** A tensor with its elements as an exporter may write them: packed, one by one, or some of both; the type before them or after. */
function typedTensor(type: OnnxType, values: readonly number[], how: How, typeLast: boolean): Uint8Array {
  const { field: kind, code, bits } = onnxTypeFacts(type)
  const number = FIELD_NUMBERS[kind]
  const wire = kind === 'floatData' ? 5 : kind === 'doubleData' ? 1 : 0
  const packed = (part: readonly number[]): Uint8Array => field(number, concat(...part.map((v) => encode(type, v))))
  const single = (part: readonly number[]): Uint8Array => concat(...part.map((v) => [...varint(number * 8 + wire), ...encode(type, v)]))
  const half = how === 'packed' ? values.length : how === 'single' ? 0 : values.length >> 1
  const data = concat(half === 0 ? [] : packed(values.slice(0, half)), single(values.slice(half)))
  const count = bits < 8 ? values.length * (8 / bits) : values.length
  return concat([8, ...varint(count)], typeLast ? [] : [16, code], data, typeLast ? [16, code] : [], [0x42, 1, 119])
}

/** A model whose tensor stands between two others, and in a node's attribute too. */
function modelWith(tensor: Uint8Array): Uint8Array {
  const small = (name: string): Uint8Array => concat([8, 1, 16, 1, 0x42, 1, name.charCodeAt(0), 0x4a, 4, 0, 0, 128, 63])
  const constant = concat([0x12, 1, 99, 0x22, 8], new TextEncoder().encode('Constant'), field(5, concat([0x0a, 5], new TextEncoder().encode('value'), field(5, tensor), [0xa0, 1, 4])))
  const relu = concat([0x0a, 1, 120, 0x12, 1, 121, 0x22, 4], new TextEncoder().encode('Relu'))
  return concat([8, 10], field(7, concat(field(1, relu), field(1, constant), [0x12, 1, 103], field(5, small('a')), field(5, tensor), field(5, small('b')))), [0x42, 2, 16, 21])
}

/** What a test wants of a type: values at the ends of its range and between. */
const VALUES: Readonly<Record<string, readonly number[]>> = {
  float32: [0, -0, 1.5, -3e38, Infinity], float64: [0, 1e300, -2.5], int8: [-128, 127, 0, -1], uint8: [0, 255, 7], int16: [-32768, 32767, -1], uint16: [0, 65535], int32: [-(2 ** 31), 2 ** 31 - 1, -1, 300],
  int64: [-1, 0, 2 ** 40, -(2 ** 52), 127, 128], uint32: [0, 2 ** 32 - 1, 128], uint64: [0, 2 ** 53 - 1], float16: [0, 0x3c00, 0xffff], bfloat16: [0x3f80, 0xffff], bool: [0, 1, 1], int4: [0, 0xf7, 0x10], uint4: [0, 0xff], float8e4m3fn: [0, 255], uint2: [0, 0xe4],
}

const many = (values: readonly number[]): number[] => Array.from({ length: HEAVY_NUMBERS + 3 }, (_, i) => values[i % values.length])

const outcome = (bytes: Uint8Array, options = {}): string => {
  try {
    for (const t of tensorsOf(readOnnx(bytes, options))) tensorToHost(t)
    return 'read'
  } catch (error) {
    if (!isLowbitError(error)) throw error
    return error.code
  }
}

describe('numbers in typed fields', () => {
  it.each(Object.entries(VALUES))('of %s are the same however many there are and however they are written', (name, values) => {
    const type = name as OnnxType
    const few = tensorToHost([...tensorsOf(readOnnx(modelWith(typedTensor(type, values, 'packed', false))))][1])
    for (const [how, typeLast] of [['packed', false], ['single', true], ['both', true]] as const) {
      const bytes = modelWith(typedTensor(type, many(values), how, typeLast))
      const read = readOnnx(bytes)
      const tensors = [...tensorsOf(read)]
      expect(tensors.map((t) => t.name)).toEqual(['a', 'w', 'b', 'w'])
      for (const t of [tensors[1], tensors[3]]) {
        expect(t.floatData.length + t.int32Data.length + t.int64Data.length + t.doubleData.length + t.uint64Data.length).toBe(0)
        const { dtype, data } = tensorToHost(t)
        expect(dtype).toBe(few.dtype)
        const width = few.data.length
        // Compared in one go: a loop over expect would take minutes.
        expect(Array.from(data, Number).findIndex((v, i) => !Object.is(v, Number(few.data[i % width])))).toBe(-1)
      }
      // What was read can be written, and read again.
      expect(tensorToHost([...tensorsOf(readOnnx(writeOnnx(read)))][3]).data.length).toBe(tensorToHost(tensors[3]).data.length)
    }
  })

  it.each([
    ['int8', 128], ['int8', -129], ['uint8', 256], ['uint8', -1], ['int16', 32768], ['uint16', 65536], ['float16', -1], ['int4', 256], ['uint32', 2 ** 32],
  ] as const)('of %s that do not fit (%i) are refused, few or many', (type, value) => {
    expect(outcome(modelWith(typedTensor(type, [0, value], 'packed', false)))).toBe('LOWBIT_FORMAT')
    expect(outcome(modelWith(typedTensor(type, many([0, value]), 'both', false)))).toBe('LOWBIT_FORMAT')
  })

  it('of another type than the tensor’s are refused, and too many of them before they are parsed', () => {
    const bytes = modelWith(concat(typedTensor('int32', many([1]), 'packed', false), [16, 1]))
    expect(outcome(bytes)).toBe('LOWBIT_FORMAT')
    expect(outcome(bytes, { limits: { numbers: 1000 } })).toBe('LOWBIT_LIMIT')
  })

  it('of a large table take the memory of their bytes, not of a JavaScript array', () => {
    const count = 3_000_000
    const content = new Uint8Array(new Float32Array(count).fill(1).buffer)
    const bytes = modelWith(concat([8, ...varint(count), 16, 1, 34, ...varint(content.length)], content, [66, 1, 119]))
    const before = process.memoryUsage().heapUsed
    const read = readOnnx(bytes)
    // An array of so many numbers has 24 MB, while it grows 60.
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(12e6)
    const table = [...tensorsOf(read)].find((t) => t.dims[0] === BigInt(count))
    expect(table === undefined ? undefined : tensorToHost(table).data.length).toBe(count)
  })

  it('of attributes and small tensors count together', () => {
    expect(outcome(modelWith(typedTensor('float32', [1, 2, 3], 'packed', false)), { limits: { numbers: 5 } })).toBe('LOWBIT_LIMIT')
    expect(outcome(modelWith(typedTensor('float32', many([1]), 'packed', false)), { limits: { numbers: 5 } })).toBe('read')
  })

  it('damaged in any way never escape as anything but a LowbitError', () => {
    const good = modelWith(typedTensor('int32', many([1, 300, -5]), 'both', true))
    const edges = [...Array(120).keys(), ...Array.from({ length: 60 }, (_, i) => good.length - 60 + i)]
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.oneof(fc.constantFrom(...edges), fc.nat(good.length - 1)), fc.nat(255)), { minLength: 1, maxLength: 3 }), (changes) => {
        const bytes = good.slice()
        for (const [at, value] of changes) bytes[at] = value
        outcome(bytes)
      }),
      { numRuns: 25 },
    )
  })
})
