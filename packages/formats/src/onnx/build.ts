import { LowbitError } from '@lowbit/core'
import {
  AttributeProtoSchema,
  AttributeType,
  create,
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  StringStringEntryProtoSchema,
  ValueInfoProtoSchema,
  type AttributeProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from './proto.js'
import { onnxTypeFacts, type OnnxType } from './types.js'

/** Marks numbers that are FLOAT attributes, also where they happen to be whole. Made by {@link float}, {@link floats}. */
export type FloatAttribute = { readonly float: number } | { readonly floats: readonly number[] }

/** A bare number or bigint is an INT, a list of them INTS. */
export type AttributeValue = number | bigint | string | readonly (number | bigint)[] | readonly string[] | FloatAttribute | TensorProto | GraphProto

/** A FLOAT attribute. */
export const float = (value: number): FloatAttribute => ({ float: value })
/** A FLOATS attribute. */
export const floats = (values: readonly number[]): FloatAttribute => ({ floats: values })

/** An attribute message of the type its value says. @throws LOWBIT_ARGUMENT for a bare number with a fraction. */
export function attribute(name: string, value: AttributeValue): AttributeProto {
  const encode = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(new TextEncoder().encode(text))
  if (typeof value === 'number' || typeof value === 'bigint') return create(AttributeProtoSchema, { name, type: AttributeType.INT, i: toBigInt(value, name) })
  if (typeof value === 'string') return create(AttributeProtoSchema, { name, type: AttributeType.STRING, s: encode(value) })
  if (isList(value)) {
    const texts = value.filter((item) => typeof item === 'string')
    if (texts.length > 0 && texts.length === value.length) return create(AttributeProtoSchema, { name, type: AttributeType.STRINGS, strings: texts.map(encode) })
    return create(AttributeProtoSchema, { name, type: AttributeType.INTS, ints: value.map((item) => toBigInt(item, name)) })
  }
  if ('float' in value) return create(AttributeProtoSchema, { name, type: AttributeType.FLOAT, f: value.float })
  if ('floats' in value) return create(AttributeProtoSchema, { name, type: AttributeType.FLOATS, floats: [...value.floats] })
  if (value.$typeName === 'onnx.TensorProto') return create(AttributeProtoSchema, { name, type: AttributeType.TENSOR, t: value })
  return create(AttributeProtoSchema, { name, type: AttributeType.GRAPH, g: value })
}

function isList(value: AttributeValue): value is readonly (number | bigint)[] | readonly string[] {
  return Array.isArray(value)
}

function toBigInt(value: number | bigint | string, name: string): bigint {
  if (typeof value === 'bigint') return value
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: `attribute '${name}'`, found: String(value), expected: 'a whole number', fix: 'write float(…) for a FLOAT attribute' })
  }
  return BigInt(value)
}

/**
 * A node. An empty input name leaves an optional input out.
 * @param domain `''` is the ONNX domain, `com.microsoft` ONNX Runtime's.
 */
export function node(op: string, inputs: readonly string[], outputs: readonly string[], attributes: Readonly<Record<string, AttributeValue>> = {}, domain = '', name = ''): NodeProto {
  return create(NodeProtoSchema, {
    opType: op,
    input: [...inputs],
    output: [...outputs],
    attribute: Object.entries(attributes).map(([key, value]) => attribute(key, value)),
    ...(domain === '' ? {} : { domain }),
    ...(name === '' ? {} : { name }),
  })
}

/** A graph input or output. Without a type it has only a name, which is enough for an added output. */
export function valueInfo(name: string, type?: OnnxType, shape?: readonly (number | string)[]): ValueInfoProto {
  if (type === undefined) return create(ValueInfoProtoSchema, { name })
  const elemType = onnxTypeFacts(type).code
  if (shape === undefined) return create(ValueInfoProtoSchema, { name, type: { value: { case: 'tensorType', value: { elemType } } } })
  const dim = shape.map((size) =>
    typeof size === 'number' ? { value: { case: 'dimValue' as const, value: BigInt(size) } } : { value: { case: 'dimParam' as const, value: size } },
  )
  return create(ValueInfoProtoSchema, { name, type: { value: { case: 'tensorType', value: { elemType, shape: { dim } } } } })
}

export interface GraphParts {
  readonly name?: string
  readonly nodes: readonly NodeProto[]
  readonly inputs: readonly ValueInfoProto[]
  readonly outputs: readonly ValueInfoProto[]
  readonly initializers?: readonly TensorProto[]
}

/** A graph from its parts. */
export function graph(parts: GraphParts): GraphProto {
  return create(GraphProtoSchema, {
    name: parts.name ?? 'graph',
    node: [...parts.nodes],
    input: [...parts.inputs],
    output: [...parts.outputs],
    initializer: [...(parts.initializers ?? [])],
  })
}

/** A model around a graph: opsets by domain, `''` for ONNX's own. */
export function model(main: GraphProto, opsets: Readonly<Record<string, number>> = { '': 21 }, irVersion = 10): ModelProto {
  return create(ModelProtoSchema, {
    irVersion: BigInt(irVersion),
    producerName: 'lowbit',
    graph: main,
    opsetImport: Object.entries(opsets).map(([domain, version]) => create(OperatorSetIdProtoSchema, { domain, version: BigInt(version) })),
  })
}

/** `ai.onnx` is the same domain as `''`. */
const isDomain = (entry: { readonly domain: string }, domain: string): boolean => entry.domain === domain || (['', 'ai.onnx'].includes(entry.domain) && ['', 'ai.onnx'].includes(domain))

/** Version of a domain's operators that a model imports; 0 if it does not. Of several the last counts, as it does for runtimes. */
export function opsetVersion(m: ModelProto, domain = ''): number {
  return Number(m.opsetImport.filter((entry) => isDomain(entry, domain)).at(-1)?.version ?? 0n)
}

/** Imports a domain, or changes its version; a domain that was imported twice is imported once. */
export function setOpset(m: ModelProto, domain: string, version: number): void {
  const entry = m.opsetImport.findIndex((e) => isDomain(e, domain))
  const wanted = create(OperatorSetIdProtoSchema, { domain: m.opsetImport[entry]?.domain ?? domain, version: BigInt(version) })
  const at = entry < 0 ? m.opsetImport.length : entry
  const others = (from: number, to?: number): typeof m.opsetImport => m.opsetImport.slice(from, to).filter((e) => !isDomain(e, domain))
  m.opsetImport = [...others(0, at), wanted, ...others(at + 1)]
}

/** The value under a key of the model's metadata. */
export function metadata(m: ModelProto, key: string): string | undefined {
  return m.metadataProps.find((entry) => entry.key === key)?.value
}

/** Writes a key of the model's metadata, replacing an old value. */
export function setMetadata(m: ModelProto, key: string, value: string): void {
  m.metadataProps = [...m.metadataProps.filter((entry) => entry.key !== key), create(StringStringEntryProtoSchema, { key, value })]
}
