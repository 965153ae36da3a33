import { LowbitError } from '@lowbit/core'
import type { GraphProto, NodeProto } from '@lowbit/formats'
import { copyMessage } from './message.js'

/** Graphs may nest this deep; real models stay below ten. */
const MAX_DEPTH = 64

/** The graphs inside a node: branches of If, bodies of Loop and Scan. */
export function subgraphs(node: NodeProto): GraphProto[] {
  return node.attribute.flatMap((a) => (a.g === undefined ? a.graphs : [a.g, ...a.graphs]))
}

/** Names of the enclosing graph that a node's subgraphs use. */
export function capturedNames(node: NodeProto, depth = 0): Set<string> {
  const captured = new Set<string>()
  for (const graph of subgraphs(node)) {
    checkDepth(node, depth)
    const own = ownNames(graph)
    const use = (name: string): void => {
      if (name !== '' && !own.has(name)) captured.add(name)
    }
    for (const inner of graph.node) {
      inner.input.forEach(use)
      capturedNames(inner, depth + 1).forEach(use)
    }
    for (const output of graph.output) use(output.name)
  }
  return captured
}

/** Renames what a node's subgraphs capture from the enclosing graph. The subgraphs must belong to the node alone. */
export function renameCaptured(node: NodeProto, from: string, to: string): void {
  for (const graph of subgraphs(node)) {
    if (ownNames(graph).has(from)) continue
    for (const inner of graph.node) {
      inner.input = inner.input.map((name) => (name === from ? to : name))
      renameCaptured(inner, from, to)
    }
    for (const output of graph.output) {
      if (output.name === from) output.name = to
    }
  }
}

/** Every name that the graphs inside a node define or use: new names must avoid them. */
export function namesInside(node: NodeProto, depth = 0): Set<string> {
  const names = new Set<string>()
  for (const graph of subgraphs(node)) {
    checkDepth(node, depth)
    ownNames(graph).forEach((name) => names.add(name))
    for (const inner of graph.node) {
      inner.input.forEach((name) => names.add(name))
      namesInside(inner, depth + 1).forEach((name) => names.add(name))
    }
  }
  return names
}

/** A copy whose nodes, lists and subgraphs can be changed without touching the original. Tensors are shared. */
export function copyGraph(graph: GraphProto): GraphProto {
  const copy = copyMessage(graph)
  copy.node = graph.node.map(copyNode)
  copy.initializer = [...graph.initializer]
  copy.sparseInitializer = [...graph.sparseInitializer]
  copy.input = [...graph.input]
  copy.output = graph.output.map(copyMessage)
  copy.valueInfo = [...graph.valueInfo]
  return copy
}

/** A copy of a node with lists of its own. Tensors in attributes are shared. */
export function copyNode(node: NodeProto): NodeProto {
  const copy = copyMessage(node)
  copy.input = [...node.input]
  copy.output = [...node.output]
  copy.attribute = node.attribute.map((a) => {
    if (a.g === undefined && a.graphs.length === 0) return a
    const own = copyMessage(a)
    if (a.g !== undefined) own.g = copyGraph(a.g)
    own.graphs = a.graphs.map(copyGraph)
    return own
  })
  return copy
}

function ownNames(graph: GraphProto): Set<string> {
  const own = new Set<string>()
  for (const input of graph.input) own.add(input.name)
  for (const initializer of graph.initializer) own.add(initializer.name)
  for (const sparse of graph.sparseInitializer) own.add(sparse.values?.name ?? '')
  for (const node of graph.node) node.output.forEach((name) => own.add(name))
  return own
}

function checkDepth(node: NodeProto, depth: number): void {
  if (depth > MAX_DEPTH) {
    throw new LowbitError('LOWBIT_LIMIT', { thing: `node '${node.name}' (${node.opType})`, found: `graphs nested more than ${MAX_DEPTH} deep` })
  }
}
