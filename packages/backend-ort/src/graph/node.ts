import { create } from '@bufbuild/protobuf'
import { type AttributeProto, type NodeProto, NodeProtoSchema } from 'onnx-buf'
import { attribute, type AttributeValue } from './attributes.js'

export interface NodeParts {
  readonly op: string
  /** Operator set; `''` (default) is ONNX's own. */
  readonly domain?: string
  readonly name?: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes?: Readonly<Record<string, AttributeValue>> | readonly AttributeProto[]
}

/** Domain of ONNX Runtime's own operators. */
export const MICROSOFT = 'com.microsoft'

/** Makes a node. */
export function makeNode(parts: NodeParts): NodeProto {
  const { op, domain = '', name = '', inputs, outputs, attributes = [] } = parts
  return create(NodeProtoSchema, {
    opType: op,
    domain,
    name,
    input: [...inputs],
    output: [...outputs],
    attribute: isList(attributes) ? [...attributes] : Object.entries(attributes).map(([key, value]) => attribute(key, value)),
  })
}

/** True for an operator of ONNX's own set (written as `''` or `ai.onnx`). */
export function isOp(node: NodeProto, op: string): boolean {
  return node.opType === op && (node.domain === '' || node.domain === 'ai.onnx')
}

/** True for an operator of ONNX Runtime's own set. */
export function isMicrosoftOp(node: NodeProto, op: string): boolean {
  return node.opType === op && node.domain === MICROSOFT
}

function isList(value: NonNullable<NodeParts['attributes']>): value is readonly AttributeProto[] {
  return Array.isArray(value)
}
