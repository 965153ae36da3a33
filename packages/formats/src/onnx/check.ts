import { LowbitError } from '@lowbit/core'
import { checkLoops } from './endless-loops.js'
import type { FunctionProto, GraphProto, ModelProto, NodeProto } from './proto.js'

/** Names that a node reads: its inputs, and what its subgraphs read from outside. */
function readsOf(node: NodeProto): string[] {
  const reads = node.input.filter((name) => name !== '')
  for (const attribute of node.attribute) {
    for (const graph of attribute.g ? [attribute.g, ...attribute.graphs] : attribute.graphs) {
      for (const inner of graph.node) for (const name of readsOf(inner)) reads.push(name)
      for (const output of graph.output) reads.push(output.name)
    }
  }
  return reads
}

function checkNodes(nodes: readonly NodeProto[], thing: string): void {
  const producer = new Map<string, number>()
  nodes.forEach((node, index) => {
    for (const name of node.output) {
      if (name === '') continue
      if (producer.has(name)) throw new LowbitError('LOWBIT_FORMAT', { thing, found: `two nodes that write '${name}'`, expected: 'one writer a tensor' })
      producer.set(name, index)
    }
  })
  const readers: number[][] = nodes.map(() => [])
  const waiting = nodes.map((node, index) => {
    const sources = new Set<number>()
    for (const name of readsOf(node)) {
      const source = producer.get(name)
      if (source !== undefined) sources.add(source)
    }
    for (const source of sources) readers[source].push(index)
    return sources.size
  })
  const ready = waiting.flatMap((count, index) => (count === 0 ? [index] : []))
  for (let next = 0; next < ready.length; next++) {
    for (const reader of readers[ready[next]]) if (--waiting[reader] === 0) ready.push(reader)
  }
  if (ready.length < nodes.length) {
    const node = nodes[waiting.findIndex((count) => count > 0)]
    throw new LowbitError('LOWBIT_FORMAT', {
      thing,
      found: `a cycle through node '${node.name || node.output[0]}' (${node.opType})`,
      expected: 'a graph without cycles',
    })
  }
}

function subgraphs(nodes: readonly NodeProto[]): GraphProto[] {
  return nodes.flatMap((node) => node.attribute.flatMap((a) => (a.g ? [a.g, ...a.graphs] : a.graphs)))
}

function checkTree(graph: Pick<GraphProto, 'node' | 'initializer'>, thing: string): void {
  checkNodes(graph.node, thing)
  checkLoops(graph, thing)
  for (const inner of subgraphs(graph.node)) checkTree(inner, thing)
}

const keyOf = (f: Pick<FunctionProto, 'domain' | 'name' | 'overload'>): string => `${f.domain}:${f.name}:${f.overload}`

/** A function that calls itself, directly or through others, would never end. */
function checkFunctions(model: ModelProto, thing: string): void {
  const functions = new Map(model.functions.map((f) => [keyOf(f), f]))
  const done = new Set<string>()
  const open = new Set<string>()
  const visit = (key: string): void => {
    const f = functions.get(key)
    if (f === undefined || done.has(key)) return
    if (open.has(key)) throw new LowbitError('LOWBIT_FORMAT', { thing, found: `function '${f.name}' calls itself`, expected: 'functions without recursion' })
    open.add(key)
    if (open.size > MAX_CALLS) throw new LowbitError('LOWBIT_LIMIT', { thing, found: `functions that call functions more than ${MAX_CALLS} deep` })
    const walk = (nodes: readonly NodeProto[]): void => {
      for (const node of nodes) visit(keyOf({ domain: node.domain, name: node.opType, overload: node.overload }))
      for (const graph of subgraphs(nodes)) walk(graph.node)
    }
    walk(f.node)
    open.delete(key)
    done.add(key)
  }
  for (const key of functions.keys()) visit(key)
}

const MAX_CALLS = 256

/**
 * Checks what a program that walks the graph relies on: one writer a tensor, no cycles, functions without recursion, loops that end.
 * Nodes may stand in any order.
 * @throws LOWBIT_FORMAT naming the node or the function.
 */
export function checkOnnx(model: ModelProto, thing = 'model'): void {
  if (model.graph !== undefined) checkTree(model.graph, thing)
  for (const f of model.functions) checkTree({ node: f.node, initializer: [] }, `function '${f.name}' of ${thing}`)
  checkFunctions(model, thing)
}
