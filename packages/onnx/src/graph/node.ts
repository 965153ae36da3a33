import type { NodeProto } from '@lowbit/formats'

/** Domain of ONNX Runtime's own operators. */
export const MICROSOFT = 'com.microsoft'

/** True for an operator of ONNX's own set (written as `''` or `ai.onnx`). */
export function isOp(node: NodeProto, op: string): boolean {
  return node.opType === op && (node.domain === '' || node.domain === 'ai.onnx')
}

/** True for an operator of ONNX Runtime's own set. */
export function isMicrosoftOp(node: NodeProto, op: string): boolean {
  return node.opType === op && node.domain === MICROSOFT
}
