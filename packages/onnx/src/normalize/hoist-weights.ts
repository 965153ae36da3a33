import { findAttribute, type GraphProto, type ModelProto, type NodeProto, onnxTypeOf, tensorBytes, type TensorProto } from '@lowbit/formats'
import { copyMessage, renameCaptured, subgraphs } from '../graph/index.js'

/** Smaller tensors stay where they are. */
const LEAST_BYTES = 1024

/**
 * Moves the float weights that stand inside of If, Loop and Scan bodies to the main graph, which every body can read: there they are
 * found, and their codes are stored and expanded once, however often a body runs.
 * @returns what was done
 */
export function hoistWeights(model: ModelProto): readonly string[] {
  const { graph } = model
  if (graph === undefined || !graph.node.some((n) => subgraphs(n).length > 0)) return []
  const taken = new Set(namesOf(graph))
  const definitions = new Map<string, number>()
  for (const name of definedIn(graph)) definitions.set(name, (definitions.get(name) ?? 0) + 1)
  const hoisted: TensorProto[] = []
  const fresh = (base: string): string => {
    let name = base
    for (let i = 1; taken.has(name); i++) name = `${base}_${i}`
    taken.add(name)
    return name
  }
  const visit = (body: GraphProto): void => {
    for (const node of body.node) subgraphs(node).forEach(visit)
    const fixed = new Set([...body.input, ...body.output].map((v) => v.name))
    const take = (name: string, tensor: TensorProto): boolean => {
      if (name === '' || fixed.has(name) || !isWeight(tensor)) return false
      const own = copyMessage(tensor)
      // Branches may use one name for different weights.
      own.name = definitions.get(name) === 1 ? name : fresh(name)
      hoisted.push(own)
      renameInside(body, name, own.name)
      return true
    }
    body.initializer = body.initializer.filter((t) => !take(t.name, t))
    body.node = body.node.filter((node) => {
      const value = node.opType === 'Constant' ? findAttribute(node, 'value')?.t : undefined
      return value === undefined || !take(node.output[0] ?? '', value)
    })
  }
  for (const node of graph.node) subgraphs(node).forEach(visit)
  graph.initializer = [...graph.initializer, ...hoisted]
  return hoisted.length === 0 ? [] : [`${hoisted.length} weights of branches and loops moved to the main graph`]
}

function isWeight(tensor: TensorProto): boolean {
  const type = onnxTypeOf(tensor.dataType)
  return tensor.dims.length >= 2 && (type === 'float32' || type === 'float16' || type === 'bfloat16' || type === 'float64') && tensorBytes(tensor) >= LEAST_BYTES
}

function renameInside(body: GraphProto, from: string, to: string): void {
  if (from === to) return
  for (const node of body.node) {
    node.input = node.input.map((name) => (name === from ? to : name))
    renameCaptured(node, from, to)
  }
}

function* namesOf(graph: GraphProto): Generator<string> {
  for (const { name } of [...graph.input, ...graph.output, ...graph.initializer]) yield name
  for (const node of graph.node) {
    yield* names(node)
    for (const body of subgraphs(node)) yield* namesOf(body)
  }
}

function* names(node: NodeProto): Generator<string> {
  yield node.name
  yield* node.input
  yield* node.output
}

function* definedIn(graph: GraphProto): Generator<string> {
  for (const { name } of [...graph.input, ...graph.initializer]) yield name
  for (const node of graph.node) {
    yield* node.output
    for (const body of subgraphs(node)) yield* definedIn(body)
  }
}
