import { create } from '@bufbuild/protobuf'
import { type AttributeProto, AttributeProto_AttributeType as Type, AttributeProtoSchema, type GraphProto, type NodeProto, type TensorProto } from 'onnx-buf'

/** Values that {@link attribute} can store. Numbers are floats, bigints are ints. */
export type AttributeValue = number | bigint | string | readonly bigint[] | TensorProto

/** The attribute of that name, if the node carries it. */
export function findAttribute(node: NodeProto, name: string): AttributeProto | undefined {
  return node.attribute.find((a) => a.name === name)
}

/** An integer attribute, or `fallback` where the node leaves it out. */
export function intAttribute(node: NodeProto, name: string, fallback: number): number {
  const found = findAttribute(node, name)
  return found === undefined ? fallback : Number(found.i)
}

/** A list of integers, or undefined where the node leaves it out. */
export function intsAttribute(node: NodeProto, name: string): readonly number[] | undefined {
  return findAttribute(node, name)?.ints.map(Number)
}

/** A float attribute, or `fallback` where the node leaves it out. */
export function floatAttribute(node: NodeProto, name: string, fallback: number): number {
  return findAttribute(node, name)?.f ?? fallback
}

/** A string attribute, or `fallback` where the node leaves it out. */
export function stringAttribute(node: NodeProto, name: string, fallback: string): string {
  const found = findAttribute(node, name)
  return found === undefined ? fallback : new TextDecoder().decode(found.s)
}

/** Makes an attribute of the type that fits the value. */
export function attribute(name: string, value: AttributeValue): AttributeProto {
  if (typeof value === 'number') return create(AttributeProtoSchema, { name, type: Type.FLOAT, f: value })
  if (typeof value === 'bigint') return create(AttributeProtoSchema, { name, type: Type.INT, i: value })
  if (typeof value === 'string') return create(AttributeProtoSchema, { name, type: Type.STRING, s: new TextEncoder().encode(value) })
  if (isInts(value)) return create(AttributeProtoSchema, { name, type: Type.INTS, ints: [...value] })
  return create(AttributeProtoSchema, { name, type: Type.TENSOR, t: value })
}

/** The graphs inside a node: branches of If, bodies of Loop and Scan. */
export function subgraphs(node: NodeProto): GraphProto[] {
  return node.attribute.flatMap((a) => (a.g === undefined ? a.graphs : [a.g, ...a.graphs]))
}

function isInts(value: AttributeValue): value is readonly bigint[] {
  return Array.isArray(value)
}
