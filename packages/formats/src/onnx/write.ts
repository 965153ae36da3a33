import { create, toBinary, type DescMessage, type MessageShape } from '@bufbuild/protobuf'
import { LowbitError } from '@lowbit/core'
import { joinChunks, type Chunks } from '../bytes/chunks.js'
import { onlyFields } from './copy.js'
import { MAX_PROTOBUF_BYTES } from './limits.js'
import {
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  TensorProtoSchema,
  type AttributeProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type TensorProto,
} from './proto.js'

/** Bytes of `raw_data` from which a tensor is passed through as it is, instead of being copied by the encoder. */
const BIG = 1 << 16

/**
 * The bytes of a model in pieces, without copying large tensors: for streaming to a file.
 * Fields come in the order of their numbers, as protobuf libraries write them; unknown fields stay.
 * @throws LOWBIT_LIMIT for more than 2 GiB, which protobuf cannot hold.
 */
export function onnxChunks(model: ModelProto): Chunks {
  const out = encodeModel(model)
  if (out.size > MAX_PROTOBUF_BYTES) {
    throw new LowbitError('LOWBIT_LIMIT', { thing: 'model', found: `${out.size} bytes`, expected: 'at most 2 GiB', fix: 'save it with external data' })
  }
  return out
}

/**
 * The bytes of a model. Fields that lowbit does not know come out as they went in.
 * @throws LOWBIT_LIMIT for more than 2 GiB, which protobuf cannot hold.
 */
export function writeOnnx(model: ModelProto): Uint8Array<ArrayBuffer> {
  return joinChunks(onnxChunks(model))
}

class Encoder implements Chunks {
  readonly chunks: Uint8Array<ArrayBuffer>[] = []
  size = 0

  bytes(chunk: Uint8Array<ArrayBuffer>): this {
    if (chunk.length > 0) this.chunks.push(chunk)
    this.size += chunk.length
    return this
  }

  /** A field of type bytes or message. */
  field(number: number, content: Chunks): this {
    this.bytes(Uint8Array.from([...varint(number * 8 + 2), ...varint(content.size)]))
    for (const chunk of content.chunks) this.bytes(chunk)
    return this
  }

  /** The fields of a message whose numbers lie between two others. The last part carries the unknown fields. */
  between<D extends DescMessage>(schema: D, message: MessageShape<D>, after: number, before: number): this {
    const names = new Set(schema.fields.filter((f) => f.number > after && f.number < before).map((f) => f.localName))
    return this.bytes(toBinary(schema, onlyFields(message, (key) => names.has(key) || (before === Infinity && key === '$unknown'))))
  }

  /** A repeated message: light ones go to the encoder in runs, heavy ones one by one. */
  list<M>(number: number, items: readonly M[], heavy: (item: M) => boolean, encodeLight: (run: M[]) => Uint8Array<ArrayBuffer>, encodeHeavy: (item: M) => Chunks): this {
    let run: M[] = []
    const flush = (): void => {
      if (run.length > 0) this.bytes(encodeLight(run))
      run = []
    }
    for (const item of items) {
      if (!heavy(item)) run.push(item)
      else {
        flush()
        this.field(number, encodeHeavy(item))
      }
    }
    flush()
    return this
  }
}

function varint(value: number): number[] {
  const out: number[] = []
  for (; value >= 128; value = Math.floor(value / 128)) out.push((value % 128) + 128)
  return [...out, value]
}

const heavyTensor = (t: TensorProto): boolean => t.rawData.length >= BIG
const heavyGraph = (g: GraphProto): boolean => g.initializer.some(heavyTensor) || g.node.some(heavyNode)
const heavyAttribute = (a: AttributeProto): boolean => (a.t !== undefined && heavyTensor(a.t)) || (a.g !== undefined && heavyGraph(a.g))
const heavyNode = (n: NodeProto): boolean => n.attribute.some(heavyAttribute)

// The numbers are those of onnx.proto.

function encodeModel(m: ModelProto): Chunks {
  const out = new Encoder().between(ModelProtoSchema, m, 0, 7)
  if (m.graph !== undefined) out.field(7, encodeGraph(m.graph))
  return out.between(ModelProtoSchema, m, 7, Infinity)
}

function encodeGraph(g: GraphProto): Chunks {
  return new Encoder()
    .list(1, g.node, heavyNode, (node) => toBinary(GraphProtoSchema, create(GraphProtoSchema, { node })), encodeNode)
    .between(GraphProtoSchema, g, 1, 5)
    .list(5, g.initializer, heavyTensor, (initializer) => toBinary(GraphProtoSchema, create(GraphProtoSchema, { initializer })), encodeTensor)
    .between(GraphProtoSchema, g, 5, Infinity)
}

function encodeNode(n: NodeProto): Chunks {
  return new Encoder()
    .between(NodeProtoSchema, n, 0, 5)
    .list(5, n.attribute, heavyAttribute, (attribute) => toBinary(NodeProtoSchema, create(NodeProtoSchema, { attribute })), encodeAttribute)
    .between(NodeProtoSchema, n, 5, Infinity)
}

function encodeAttribute(a: AttributeProto): Chunks {
  const out = new Encoder().between(AttributeProtoSchema, a, 0, 5)
  if (a.t !== undefined) out.field(5, encodeTensor(a.t))
  if (a.g !== undefined) out.field(6, encodeGraph(a.g))
  return out.between(AttributeProtoSchema, a, 6, Infinity)
}

function encodeTensor(t: TensorProto): Chunks {
  const out = new Encoder().between(TensorProtoSchema, t, 0, 9)
  if (t.rawData.length > 0) out.field(9, { chunks: [t.rawData], size: t.rawData.length })
  return out.between(TensorProtoSchema, t, 9, Infinity)
}
