import { type HostTensor, toFloat16 } from '@lowbit/core'
import { hostToTensor, type OnnxType } from '@lowbit/formats'
import type { Graph } from './graph.js'

/** Stores a tensor under a name of its own. */
export function addConstant(graph: Graph, base: string, host: HostTensor, type?: OnnxType): string {
  return graph.addInitializer(hostToTensor(graph.freshName(base), host, type))
}

/** Stores floats in the precision of the model. */
export function addFloats(graph: Graph, base: string, data: Float32Array<ArrayBuffer>, shape: readonly number[], type: 'float32' | 'float16' = 'float32'): string {
  return addConstant(graph, base, type === 'float16' ? { dtype: 'float16', shape, data: toFloat16(data) } : { dtype: 'float32', shape, data })
}

/** Stores shapes and axes. */
export function addInts(graph: Graph, base: string, values: readonly number[]): string {
  return addConstant(graph, base, { dtype: 'int64', shape: [values.length], data: BigInt64Array.from(values, BigInt) })
}
