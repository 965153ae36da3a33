import { hostToFloat32, intAttribute, onnxTypeOf } from '@lowbit/formats'
import type { Finding } from '@lowbit/formats/doctor'
import { nodeName, type DoctorContext } from './context.js'

/** MatMulNBits without `accuracy_level` computes in float32: for a language model on a CPU it took 2.3 times as long. */
export function accuracyLevel(context: DoctorContext): Finding[] {
  const slow = context.ofType('MatMulNBits').filter((node) => intAttribute(node, 'accuracy_level', 0) === 0)
  if (slow.length === 0 || !(context.goesTo('onnxruntime') || context.goesTo('onnxruntime-web'))) return []
  return [{ rule: 'accuracy-level', severity: 'warning', where: slow.map(nodeName), found: `${slow.length} MatMulNBits without accuracy_level: on CPUs activations stay float32, about 2.3 times as slow for language models`, cure: 'lowbit quantize --set accuracyLevel=4: activations in int8' }]
}

/** A large float product in a model whose others are quantized, mostly the head of a language model. */
export function floatHead(context: DoctorContext): Finding[] {
  const isQuantized = context.nodes.some((node) => ['MatMulNBits', 'GatherBlockQuantized', 'DequantizeLinear', 'MatMulInteger', 'ConvInteger', 'QLinearMatMul', 'QLinearConv'].includes(node.opType))
  if (!isQuantized) return []
  const large = ['MatMul', 'Gemm', 'Gather', 'Conv'].flatMap((op) => context.ofType(op)).map((node) => ({ node, bytes: Math.max(...node.input.map((name) => (/^b?float/.test(context.types.get(name) ?? '') ? context.bytesOf(name) : 0))) })).filter(({ bytes }) => bytes > 0.05 * context.size && bytes > 1 << 16)
  if (large.length === 0) return []
  const sum = large.reduce((total, { bytes }) => total + bytes, 0)
  return [{ rule: 'float-weights', severity: 'warning', where: large.sort((a, b) => b.bytes - a.bytes).map(({ node }) => nodeName(node)), found: `${large.length} weights of a quantized model are float: ${((100 * sum) / context.size).toFixed(0)} % of the file`, cure: 'quantize the model from its float original: lowbit quantize takes embedding and head too' }]
}

/** Float zero points have no fast kernel at 2 bits, and take four or two bytes a group where a code would do. */
export async function floatZeroPoints(context: DoctorContext): Promise<Finding[]> {
  const found: Finding[] = []
  for (const node of context.ofType('MatMulNBits')) {
    const zeros = context.graph.constant(node.input[3] ?? '')
    const type = zeros === undefined ? undefined : onnxTypeOf(zeros.dataType)
    if (zeros === undefined || type === undefined || !/^b?float/.test(type)) continue
    const bits = intAttribute(node, 'bits', 4)
    const whole = hostToFloat32(await context.load(zeros)).every((z) => Number.isInteger(z) && z >= 0 && z < 2 ** bits)
    found.push({ rule: 'float-zero-points', severity: 'warning', where: [nodeName(node)], found: `zero points of ${bits}-bit codes are ${type}: ONNX Runtime has no fast kernel for them${whole ? ', and they are whole numbers' : ''}`, cure: whole ? 'store them as codes: --fix' : 'quantize again with integer zero points: lowbit quantize does', ...(whole ? { fixable: true as const } : {}) })
  }
  return merge(found)
}

/** Findings that differ only in where they were made become one. */
function merge(found: readonly Finding[]): Finding[] {
  const by = new Map<string, Finding>()
  for (const f of found) {
    const before = by.get(f.found)
    by.set(f.found, before === undefined ? f : { ...before, where: [...before.where, ...f.where] })
  }
  return [...by.values()]
}

