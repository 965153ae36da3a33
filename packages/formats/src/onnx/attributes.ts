import type { AttributeProto, GraphProto, NodeProto, TensorProto } from './proto.js'

/** A node's attribute by name. */
export function findAttribute(n: NodeProto, name: string): AttributeProto | undefined {
  return n.attribute.find((a) => a.name === name)
}

/** An INT attribute. */
export function intAttribute(n: NodeProto, name: string, fallback: number): number {
  const a = findAttribute(n, name)
  return a === undefined ? fallback : Number(a.i)
}

/** An INTS attribute. */
export function intsAttribute(n: NodeProto, name: string): number[] | undefined {
  return findAttribute(n, name)?.ints.map(Number)
}

/** A FLOAT attribute. */
export function floatAttribute(n: NodeProto, name: string, fallback: number): number {
  return findAttribute(n, name)?.f ?? fallback
}

/** A STRING attribute. */
export function stringAttribute(n: NodeProto, name: string, fallback: string): string {
  const a = findAttribute(n, name)
  return a === undefined ? fallback : new TextDecoder().decode(a.s)
}

/** A TENSOR attribute. */
export function tensorAttribute(n: NodeProto, name: string): TensorProto | undefined {
  return findAttribute(n, name)?.t
}

/** A GRAPH attribute. */
export function graphAttribute(n: NodeProto, name: string): GraphProto | undefined {
  return findAttribute(n, name)?.g
}
