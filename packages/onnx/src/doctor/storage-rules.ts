import { onnxTypeOf, tensorBytes, type TensorProto } from '@lowbit/formats'
import type { Finding } from '@lowbit/formats/doctor'
import type { Graph } from '../graph/index.js'
import type { DoctorContext } from './context.js'

/** Copies below this size are not worth a line. */
const WORTH = 1 << 10

/** Tensors that nothing reads. */
export function unread({ graph }: DoctorContext): Finding[] {
  const captured = new Set(graph.nodes().flatMap((node) => [...graph.captures(node)]))
  const lost = graph.initializers().filter((t) => graph.consumers(t.name).length === 0 && !graph.isOutput(t.name) && !captured.has(t.name))
  const bytes = lost.reduce((sum, t) => sum + tensorBytes(t), 0)
  return bytes < WORTH ? [] : [{ rule: 'unread', severity: 'warning', where: lost.map((t) => t.name), found: `${lost.length} stored tensors are read by nothing: ${(bytes / 1e6).toFixed(2)} MB`, cure: 'remove them: --fix', fixable: true }]
}

/** Tensors that are stored twice, value for value. */
export async function duplicates(context: DoctorContext): Promise<Finding[]> {
  const copies = await findDuplicates(context.graph, context)
  const bytes = copies.reduce((sum, { copy }) => sum + tensorBytes(copy), 0)
  return bytes < WORTH ? [] : [{ rule: 'stored-twice', severity: 'warning', where: copies.map(({ copy }) => copy.name), found: `${copies.length} tensors are copies of others: ${(bytes / 1e6).toFixed(2)} MB`, cure: 'store them once: --fix', fixable: true }]
}

/** Stored tensors that equal an earlier one in type, shape and every bit. */
export async function findDuplicates(graph: Graph, context: Pick<DoctorContext, 'load'>): Promise<readonly { readonly first: string; readonly copy: TensorProto }[]> {
  const bySize = new Map<string, TensorProto[]>()
  for (const tensor of graph.initializers()) {
    if (onnxTypeOf(tensor.dataType) === undefined || tensorBytes(tensor) < WORTH || graph.isInput(tensor.name)) continue
    const key = `${tensor.dataType} ${tensor.dims.join()}`
    bySize.set(key, [...(bySize.get(key) ?? []), tensor])
  }
  const found: { first: string; copy: TensorProto }[] = []
  for (const alike of bySize.values()) {
    const firsts: TensorProto[] = []
    for (const tensor of alike.length < 2 ? [] : alike) {
      const { data } = await context.load(tensor)
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
      let first: TensorProto | undefined
      for (const other of firsts) {
        const values = (await context.load(other)).data
        const old = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
        if (bytes.every((byte, i) => byte === old[i])) first = other
      }
      if (first === undefined) firsts.push(tensor)
      else found.push({ first: first.name, copy: tensor })
    }
  }
  return found
}

/** Old exporters list weights as inputs: since version 4 of the file format a caller may override them, so that nothing is folded. */
export function weightsAsInputs({ graph }: DoctorContext): Finding[] {
  const listed = graph.initializers().filter((t) => graph.isInput(t.name)).map((t) => t.name)
  return listed.length === 0 || graph.model.irVersion < 4n ? [] : [{ rule: 'weights-as-inputs', severity: 'warning', where: listed, found: `${listed.length} weights are inputs of the model too: callers might replace them, so runtimes fold and fuse nothing`, cure: 'take them out of the inputs: --fix', fixable: true }]
}
