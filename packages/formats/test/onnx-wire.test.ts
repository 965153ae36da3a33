import { fromBinary, ScalarType, toBinary, type DescField, type DescMessage } from '@bufbuild/protobuf'
import fc from 'fast-check'
import * as oracle from 'onnx-buf'
import { describe, expect, it } from 'vitest'
import { isLowbitError } from '@lowbit/core'
import { AttributeProtoSchema, AttributeType, create, DataType, graph, model, node, readOnnx, TensorProtoSchema, writeOnnx } from '@lowbit/formats'
import { ENUM_VALUES, FIELDS } from '../src/onnx/wire/fields.js'
import { realModel, REAL_MODELS, richModel } from './models.js'

/** What a generated protobuf library makes of the same bytes. */
const theirs = (bytes: Uint8Array): Uint8Array => toBinary(oracle.ModelProtoSchema, fromBinary(oracle.ModelProtoSchema, bytes))
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

function messages(desc: DescMessage, seen = new Map<string, DescMessage>()): Map<string, DescMessage> {
  if (seen.has(desc.typeName)) return seen
  seen.set(desc.typeName, desc)
  for (const field of desc.fields) if (field.message !== undefined) messages(field.message, seen)
  return seen
}

function kindOf(field: DescField): string {
  const scalar = 'scalar' in field && field.scalar !== undefined ? ScalarType[field.scalar].toLowerCase() : undefined
  const element = field.message?.typeName.replace('onnx.', '') ?? field.enum?.typeName.replace(/^.*\./, '') ?? scalar ?? ''
  return field.fieldKind !== 'list' ? element : field.packed ? `packed ${element}` : `${element}[]`
}

describe('messages of ONNX on the wire', () => {
  it('have the fields that onnx.proto gives them', () => {
    const expected = Object.fromEntries([...messages(oracle.ModelProtoSchema).values()].map((desc) => [
      desc.typeName.replace('onnx.', ''),
      Object.fromEntries(desc.fields.map((f) => [f.localName, [f.number, kindOf(f), ...(f.oneof === undefined ? [] : [f.oneof.localName])]])),
    ]))
    expect(FIELDS).toEqual(expected)
    for (const fields of Object.values(FIELDS)) {
      const numbers = Object.values(fields).map(([number]) => number)
      expect(numbers).toEqual([...numbers].sort((a, b) => a - b))
    }
    expect(Object.keys(AttributeType)).toHaveLength(ENUM_VALUES.AttributeType)
    expect(AttributeType).toEqual(Object.fromEntries(Object.entries(oracle.AttributeProto_AttributeType).filter(([, value]) => typeof value === 'number')))
    expect(DataType).toEqual(Object.fromEntries(Object.entries(oracle.TensorProto_DataType).filter(([, value]) => typeof value === 'number')))
  })

  it.each(REAL_MODELS)('%s comes out as a protobuf library writes it', (name) => {
    const bytes = realModel(name)
    expect(same(writeOnnx(readOnnx(bytes)), theirs(bytes))).toBe(true)
  })

  it('any message comes out as a protobuf library writes it', () => {
    fc.assert(
      fc.property(anyMessage(oracle.ModelProtoSchema, 4), (bytes) => {
        // And what every model has.
        const whole = Uint8Array.of(0x3a, 0, ...bytes, 0x08, 8)
        let read
        try {
          read = readOnnx(whole)
        } catch (error) {
          if (isLowbitError(error) && /two nodes that write|cycle|calls itself/.test(error.message)) return
          throw error
        }
        expect([...writeOnnx(read)]).toEqual([...theirs(whole)])
      }),
      { numRuns: 300 },
    )
  })

  it('a model with any byte changed is refused or read as a protobuf library reads it', () => {
    const bytes = writeOnnx(richModel(4))
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, value) => {
        const changed = bytes.slice()
        changed[at] = value
        let read
        try {
          read = readOnnx(changed)
        } catch (error) {
          expect(isLowbitError(error)).toBe(true)
          return
        }
        const again = writeOnnx(read)
        expect([...again]).toEqual([...theirs(changed)])
        expect(again).toEqual(writeOnnx(readOnnx(again)))
      }),
      { numRuns: 500 },
    )
  })

  it('keeps values that an enumeration does not have, beside other unknown fields', () => {
    // A tensor with data_location 2 and field 500.
    const bytes = Uint8Array.of(0x08, 8, 0x3a, 7, 0x2a, 5, 0x70, 2, 0xa0, 0x1f, 0)
    const read = readOnnx(bytes)
    expect(read.graph?.initializer[0].dataLocation).toBe(0)
    expect([...writeOnnx(read)]).toEqual([...bytes])
  })

  it('keeps text byte for byte', () => {
    const texts = ['', 'ascii', 'ä'.repeat(60), '\ufeffmark', '日本語 🙂', 'x'.repeat(70_000)]
    const made = model(graph({ nodes: texts.map((text, i) => node('Op', [text], [`y${i}`], {}, '', text)), inputs: [], outputs: [] }))
    expect(readOnnx(writeOnnx(made)).graph?.node.map((n) => n.name)).toEqual(texts)
    expect(same(writeOnnx(made), theirs(writeOnnx(made)))).toBe(true)
  })

  it('refuses values that a field cannot hold', () => {
    const written = (attribute: Parameters<typeof create<'AttributeProto'>>[1]): Uint8Array => {
      const made = model(graph({ nodes: [node('Op', [], ['y'])], inputs: [], outputs: [] }))
      made.graph?.node[0].attribute.push(create(AttributeProtoSchema, attribute))
      return writeOnnx(made)
    }
    expect(() => written({ i: 1n << 64n })).toThrow(/64 bits/)
    expect(() => written({ f: 1e300 })).toThrow(/float32/)
    expect(written({ f: Infinity, i: -(1n << 63n), ints: [-1n, (1n << 63n) - 1n] }).length).toBeGreaterThan(0)
    expect(() => create(AttributeProtoSchema, { t: Object.assign(create(AttributeProtoSchema), { $typeName: 'onnx.GraphProto' as const }) as never })).toThrow(/onnx.TensorProto/)
    expect(create(TensorProtoSchema, { dims: [1n] }).rawData).toHaveLength(0)
  })
})

/** Bytes of a message with random fields, known and unknown, in random order. */
function anyMessage(desc: DescMessage, depth: number): fc.Arbitrary<number[]> {
  const known = desc.fields.filter((f) => depth > 0 || f.message === undefined).map((f) => anyField(f, depth))
  const unknown = fc.tuple(fc.integer({ min: 500, max: 600 }), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n })).map(([no, value]) => [...varint(BigInt(no * 8)), ...varint(value)])
  return fc.array(fc.oneof(...known, unknown), { maxLength: 3, size: 'max' }).map((parts) => parts.flat())
}

function anyField(field: DescField, depth: number): fc.Arbitrary<number[]> {
  const tag = (wire: number): number[] => varint(BigInt(field.number * 8 + wire))
  const sized = (content: number[]): number[] => [...varint(BigInt(content.length)), ...content]
  const { message } = field
  if (message !== undefined) return fc.constant(0).chain(() => anyMessage(message, depth - 1)).map((content) => [...tag(2), ...sized(content)])
  if (field.enum !== undefined) return fc.nat(field.enum.values.length - 1).map((value) => [...tag(0), ...varint(BigInt(value))])
  const scalar = 'scalar' in field ? field.scalar : undefined
  if (scalar === ScalarType.STRING) return fc.string({ unit: 'grapheme', maxLength: 60 }).map((text) => [...tag(2), ...sized([...Buffer.from(text)])])
  if (scalar === ScalarType.BYTES) return fc.uint8Array({ maxLength: 9 }).map((bytes) => [...tag(2), ...sized([...bytes])])
  const width = scalar === ScalarType.FLOAT ? 4 : scalar === ScalarType.DOUBLE ? 8 : 0
  const one = width > 0 ? fc.float({ noNaN: true, noDefaultInfinity: true }).map((value) => { const at = new DataView(new ArrayBuffer(width)); if (width === 4) at.setFloat32(0, value, true); else at.setFloat64(0, value, true); return [...new Uint8Array(at.buffer)] }) : scalar === ScalarType.INT32 ? fc.integer().map((value) => varint(BigInt.asUintN(64, BigInt(value)))) : fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map(varint)
  const wire = width === 4 ? 5 : width === 8 ? 1 : 0
  const single = one.map((content) => [...tag(wire), ...content])
  return field.fieldKind === 'list' ? fc.oneof(single, fc.array(one, { maxLength: 3 }).map((items) => [...tag(2), ...sized(items.flat())])) : single
}

function varint(value: bigint): number[] {
  const out: number[] = []
  for (; value >= 128n; value >>= 7n) out.push(Number(value & 127n) + 128)
  return [...out, Number(value)]
}
