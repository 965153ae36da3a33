import { type Plan, type PlannedWeight, partOf, type QTensor, type GridPart, LowbitError, qTensorOf, type StoredTensor } from '@lowbit/core'
import { type OnnxType, onnxTypeFacts } from '@lowbit/formats'

/** The plan of an ONNX file. */
export interface OnnxPlan extends Plan {
  /** The opset the file is written at: the model's own, or the oldest that has what the format needs. */
  readonly opset: number
}

/**
 * How the parts of a weight lie in the file:
 * - `nbits`: MatMulNBits; lookups that share the weight read the same bytes
 * - `blocks`: GatherBlockQuantized
 * - `lookup`: codes are looked up, then scaled
 * - `in-place`, `blocked`, `regrouped`: a DequantizeLinear over the operator's own shape, over blocks along K, over a row a group
 * - `expanded`: operators that the runtime's optimizer evaluates at load
 * - `integers`: MatMulInteger, ConvInteger
 * - `static`: a DequantizeLinear that the runtime fuses into an integer operator
 */
export type WeightForm = 'nbits' | 'blocks' | 'lookup' | 'in-place' | 'blocked' | 'regrouped' | 'expanded' | 'integers' | 'static'

/** A weight of an ONNX plan: one grid, in one of the forms. */
export interface OnnxWeight extends PlannedWeight {
  readonly form: WeightForm
  readonly parts: readonly [GridPart]
}

/** Describes a tensor of the file. */
export function stored(role: string, type: OnnxType, shape: readonly number[]): StoredTensor {
  return { role, type, shape, bytes: Math.ceil((shape.reduce((a, b) => a * b, 1) * onnxTypeFacts(type).bits) / 8) }
}

/** The one grid of a weight. @throws LOWBIT_UNSUPPORTED for parts that no ONNX operator takes */
export function gridOf(weight: PlannedWeight): GridPart {
  const [part, ...others] = weight.parts
  if (part?.kind !== 'grid' || others.length > 0) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `weight '${weight.name}'`, found: `parts ${weight.parts.map((p) => p.kind).join(' + ')}`, expected: 'one grid of integer codes' })
  }
  return part
}

/** The codes of a weight as they were decided. */
export function codesOf(weight: PlannedWeight): QTensor {
  return qTensorOf(gridOf(weight))
}

/** A tensor of a weight by its role; undefined where the weight has none. */
export function storedTensor(weight: PlannedWeight, role: string): StoredTensor | undefined {
  return weight.tensors.find((t) => t.role === role)
}

/** Codes as the one part of an ONNX weight. @throws LOWBIT_UNSUPPORTED for codes of a table */
export function gridPart(q: QTensor, shift: number, thing: string): GridPart {
  const part = partOf(q, shift)
  if (part.kind !== 'grid') throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `${q.scheme.dtype} codes`, expected: 'integer codes', fix: 'choose int8, int4 or another integer type' })
  return part
}
