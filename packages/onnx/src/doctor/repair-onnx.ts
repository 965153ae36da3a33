import type { Artifact } from '@lowbit/core'
import { hostToFloat32, hostToTensor, intAttribute, onnxTypeOf } from '@lowbit/formats'
import { Graph } from '../graph/index.js'
import { embedExternal, finishModel, type ModelData, type ModelInput, onnxArtifact, openSource } from '../model/index.js'
import { DoctorContext } from './context.js'
import { exactPair } from './float16-rules.js'
import { findDuplicates } from './storage-rules.js'

export interface RepairedModel {
  readonly artifact: Artifact
  /** What was done, in sentences. */
  readonly done: readonly string[]
  /** The model must stay open until the artifact is saved. */
  close(): Promise<void>
}

/**
 * Repairs what can be repaired without changing a value that the model computes: Casts that undo each other, weights that are inputs,
 * whole float zero points, copies, and what nothing reads.
 * @throws LOWBIT_FILE, LOWBIT_FORMAT, LOWBIT_LIMIT
 */
export async function repairOnnx(model: ModelInput, { externalData }: { readonly externalData?: ModelData } = {}): Promise<RepairedModel> {
  const source = await openSource(model, externalData)
  try {
    if (source.file !== undefined) await embedExternal(source.file, 'constants')
    const graph = new Graph(source.model)
    const context = new DoctorContext(graph, source.size, (t) => source.load(t), [])
    const done = [freeWeights(graph), dropCastPairs(context), await packZeroPoints(context), await mergeCopies(context), dropUnread(graph)].filter((sentence) => sentence !== undefined)
    return { artifact: onnxArtifact('repaired', finishModel(graph), source, [...source.notes, ...done]), done, close: () => source.close() }
  } catch (error) {
    await source.close()
    throw error
  }
}

function freeWeights(graph: Graph): string | undefined {
  const { length } = graph.freeInitializers()
  return length === 0 ? undefined : `${length} weights are no inputs any more`
}

function dropCastPairs(context: DoctorContext): string | undefined {
  let count = 0
  for (const node of context.ofType('Cast')) {
    const [middle = ''] = node.input
    const [end = ''] = node.output
    const start = exactPair(context, middle, end)
    if (start === undefined || context.graph.isOutput(end)) continue
    context.graph.replaceUses(end, start)
    context.graph.removeIfUnread(end)
    count++
  }
  return count === 0 ? undefined : `${count} Casts that undid another are gone`
}

/** Codes of several zero points a byte, low bits first, a row at a time: `[N, ceil(groups · bits / 8)]`. */
async function packZeroPoints(context: DoctorContext): Promise<string | undefined> {
  const { graph } = context
  let count = 0
  for (const node of context.ofType('MatMulNBits')) {
    const zeros = graph.constant(node.input[3] ?? '')
    if (zeros === undefined || !/^b?float/.test(onnxTypeOf(zeros.dataType) ?? '')) continue
    const bits = intAttribute(node, 'bits', 4)
    const values = hostToFloat32(await context.load(zeros))
    const rows = intAttribute(node, 'N', 0)
    if (rows < 1 || values.length % rows !== 0 || ![2, 4, 8].includes(bits) || !values.every((z) => Number.isInteger(z) && z >= 0 && z < 2 ** bits)) continue
    const groups = values.length / rows
    const width = Math.ceil((groups * bits) / 8)
    const packed = new Uint8Array(rows * width)
    for (let n = 0; n < rows; n++) for (let g = 0; g < groups; g++) packed[n * width + ((g * bits) >> 3)] |= (values[n * groups + g] as number) << ((g * bits) & 7)
    const name = graph.addInitializer(hostToTensor(graph.freshName(`${zeros.name}_codes`), { dtype: 'uint8', shape: [packed.length], data: packed }))
    const old = node.input[3] ?? ''
    graph.setInput(node, 3, name)
    graph.removeIfUnread(old)
    count++
  }
  return count === 0 ? undefined : `zero points of ${count} products are stored as codes`
}

async function mergeCopies(context: DoctorContext): Promise<string | undefined> {
  const copies = await findDuplicates(context.graph, context)
  for (const { first, copy } of copies) {
    if (context.graph.isOutput(copy.name)) continue
    context.graph.replaceUses(copy.name, first)
    context.graph.removeIfUnread(copy.name)
  }
  return copies.length === 0 ? undefined : `${copies.length} tensors that were stored twice are stored once`
}

function dropUnread(graph: Graph): string | undefined {
  const before = graph.initializers().length
  graph.removeDead()
  const count = before - graph.initializers().length
  return count <= 0 ? undefined : `${count} tensors that nothing read are gone`
}
