import type { NodeProto } from '@lowbit/formats'
import { copyNode, type Graph } from '@lowbit/onnx'

/**
 * Computes a tensor of one graph as another graph does: its nodes between `input` and `output` are copied over, with what
 * they need of constants.
 * @returns false, and nothing changed, if the other graph computes it from something else than `input`
 */
export function splice(into: Graph, from: Graph, input: string, output: string): boolean {
  const old = into.producer(output)
  const nodes = between(from, input, output)
  if (old === undefined || nodes === undefined) return false
  const names = new Map([[input, input], [output, output]])
  const rename = (name: string): string => {
    if (name === '') return name
    let renamed = names.get(name)
    if (renamed === undefined) {
      renamed = into.freshName(`spliced_${name}`)
      names.set(name, renamed)
      const stored = from.initializer(name)
      if (stored !== undefined) {
        into.addInitializer(stored.name === renamed ? stored : Object.assign(Object.create(Object.getPrototypeOf(stored)), stored, { name: renamed }))
      }
    }
    return renamed
  }
  into.removeNode(old)
  for (const node of nodes) {
    const copy = copyNode(node)
    copy.input = node.input.map(rename)
    copy.output = node.output.map(rename)
    copy.name = ''
    into.addNode(copy)
  }
  for (const { domain, version } of from.model.opsetImport) if (domain !== '' && domain !== 'ai.onnx') into.setOpset(domain, Number(version))
  if (from.model.irVersion > into.model.irVersion) into.model.irVersion = from.model.irVersion
  return true
}

/** Nodes that compute `output` from `input` and constants; undefined if they need anything else. */
function between(graph: Graph, input: string, output: string): readonly NodeProto[] | undefined {
  const nodes = new Set<NodeProto>()
  const waiting = [output]
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (name === input || name === '' || graph.initializer(name) !== undefined) continue
    const node = graph.producer(name)
    if (node === undefined || graph.captures(node).size > 0) return undefined
    if (nodes.has(node)) continue
    // A node that feeds many others is not this site's own: far more means the way back missed the input.
    if (nodes.size > 64) return undefined
    nodes.add(node)
    waiting.push(...node.input)
  }
  return nodes.size === 0 ? undefined : [...nodes]
}
