import { LowbitError, type PlannedWeight, type TensorData, toFloat16 } from '@lowbit/core'
import { DataType, node, type OnnxType, onnxTypeFacts } from '@lowbit/formats'
import { addConstant, type Graph } from '../graph/index.js'
import { storedTensor } from '../plan/onnx-plan.js'
import type { SiteRecord } from '../sites/index.js'

/**
 * Stores a tensor of a weight as the plan says: type, shape, and half precision for floats where it asks for it.
 * @param data - in the array type that the element type is written from
 * @returns its name
 */
export function store(graph: Graph, weight: PlannedWeight, role: string, name: string, data: TensorData): string {
  const planned = storedTensor(weight, role)
  if (planned === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: `weight '${weight.name}'`, found: `no ${role} in its plan` })
  const type = planned.type as OnnxType
  const dtype = onnxTypeFacts(type).host
  return addConstant(graph, name, { dtype, shape: planned.shape, data: type === 'float16' && data instanceof Float32Array ? toFloat16(data) : data }, type)
}

/**
 * Stores scales, and gives them to the operator in its own precision: what a float32 model has stored in float16 goes through a
 * Cast, which an engine evaluates when it loads the model.
 */
export function storeScales(graph: Graph, weight: PlannedWeight, record: SiteRecord, name: string, data: Float32Array): string {
  const stored = store(graph, weight, 'scales', name, new Float32Array(data))
  if (storedTensor(weight, 'scales')?.type !== 'float16' || record.floatType === 'float16') return stored
  const cast = graph.freshName(`${name}_float`)
  graph.addNode(node('Cast', [stored], [cast], { to: DataType.FLOAT }))
  return cast
}

/** True if the plan stores a tensor of this role. */
export function stores(weight: PlannedWeight, role: string): boolean {
  return storedTensor(weight, role) !== undefined
}
