import { fromFloat16, type HostTensor, LowbitError, toFloat16 } from '@lowbit/core'
import { hostToTensor, type NodeProto } from '@lowbit/formats'
import type { Graph } from '../graph/index.js'
import type { LoadTensor } from '../sites/index.js'

/** Changes a constant input of one node; other readers of the constant keep the old one. */
export async function changeVector(graph: Graph, node: NodeProto, input: number, load: LoadTensor, change: (values: Float32Array<ArrayBuffer>) => void): Promise<void> {
  const name = node.input[input] ?? ''
  const stored = graph.constant(name)
  if (stored === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: `input ${input} of '${node.name}'`, found: 'not a constant' })
  const host = await load(stored)
  const values = host.dtype === 'float16' ? fromFloat16(host.data as Uint16Array) : Float32Array.from(host.data, Number)
  change(values)
  const changed: HostTensor = host.dtype === 'float16' ? { dtype: 'float16', shape: host.shape, data: toFloat16(values) } : { dtype: 'float32', shape: host.shape, data: values }
  graph.setInput(node, input, graph.addInitializer(hostToTensor(graph.freshName(`${name}_lowbit`), changed)))
  graph.removeIfUnread(name)
}
