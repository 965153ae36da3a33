import { DataType, hostToFloat32, hostToTensor, isExternal, node as makeNode, type NodeProto, tensorToHost, type TensorProto } from '@lowbit/formats'
import { type Graph, isOp } from '../graph/index.js'
import { type SiteRecord, siteNode } from '../sites/site-record.js'
import { halfTensors, holdsHalf, isTyped } from './half-tensors.js'
import { activationInputs, activationOutputs, hasIntegerProduct, staticRole } from './operators.js'

/** Constants up to this many values are stored in float32; larger ones stay as they are, behind a Cast. */
const FEW = 1024

/**
 * Lets the float16 operators that a static plan rounds compute in float32, between Casts: no engine multiplies integers and gives
 * float16, and ONNX Runtime on a CPU computes float16 in float32 anyway. Tensors that were rounded or made by such an operator keep
 * their names and are float32 from here on; the model's own inputs and outputs stand behind Casts, under other names until
 * {@link Widened.restore} gives them theirs back.
 * @param graph - changed in place
 * @param records - of the graph; those whose operator computes in float32 now say so
 * @param decided - tensors that are rounded
 * @param weights - sites whose weight is rounded
 */
export function widen(graph: Graph, records: readonly SiteRecord[], decided: ReadonlySet<string>, weights: ReadonlySet<string>): Widened {
  const nodes = widened(graph, records, decided, weights)
  if (nodes.size === 0) return NOTHING
  const boundary = new Map<string, string>()
  const changed = new Set<string>()
  const cast = (from: string, to: string, type: number): void => graph.addNode(makeNode('Cast', [from], [to], { to: type }, '', graph.freshName(`${to}/Cast`)))
  const written = new Set([...nodes].flatMap((node) => activationOutputs(node)))
  for (const node of nodes) {
    for (const [index, name] of node.input.entries()) {
      if (name === '' || written.has(name) || changed.has(name) || !isHalfInput(graph, node, index)) continue
      const constant = graph.constant(name)
      if (constant !== undefined) graph.setInput(node, index, wideConstant(graph, name, constant, cast))
      else {
        // Whoever else reads it reads it as it was.
        changed.add(name)
        const half = graph.freshName(`${name}_half`)
        const producer = graph.producer(name)
        const readers = graph.consumers(name)
        if (producer === undefined) boundary.set(name, half)
        graph.rename(name, half)
        for (const record of records) if (record.anchor === name) record.anchor = half
        for (const reader of readers.filter((r) => nodes.has(r))) reader.input.forEach((input, i) => { if (input === half && isTyped(reader, i)) graph.setInput(reader, i, name) })
        cast(half, name, DataType.FLOAT)
      }
    }
  }
  for (const name of written) {
    changed.add(name)
    const others = graph.consumers(name).filter((reader) => !nodes.has(reader) || graph.captures(reader).has(name) || reader.input.some((input, i) => input === name && !isTyped(reader, i)))
    if (others.length === 0 && !graph.isOutput(name)) continue
    const half = graph.freshName(`${name}_half`)
    graph.replaceUses(name, half, graph.consumers(name).filter((reader) => !others.includes(reader)))
    cast(name, half, DataType.FLOAT16)
    if (graph.isOutput(name)) {
      graph.renameOutput(name, half)
      boundary.set(name, half)
    }
  }
  graph.proto.valueInfo = graph.proto.valueInfo.filter(({ name }) => !changed.has(name))
  for (const record of records) if (record.floatType === 'float16' && nodes.has(siteNode(graph, record))) record.floatType = 'float32'
  return {
    restore() {
      for (const [name, half] of boundary) {
        const wide = graph.freshName(`${name}_float`)
        graph.rename(name, wide)
        graph.rename(half, name)
        for (const record of records) if (record.anchor === name) record.anchor = wide
      }
    },
  }
}

/** A graph some of whose float16 operators compute in float32. */
export interface Widened {
  /** Gives the inputs and outputs of the model their names back; the float32 tensors behind them get others. */
  restore(): void
}

const NOTHING: Widened = { restore: () => undefined }

/** The float16 operators that read or write a rounded tensor, and the products whose weights are rounded: all of a model are stored alike. */
function widened(graph: Graph, records: readonly SiteRecord[], decided: ReadonlySet<string>, weights: ReadonlySet<string>): ReadonlySet<NodeProto> {
  const sites = records.filter((r) => r.floatType === 'float16' && hasIntegerProduct(r.op))
  if (decided.size === 0 || !holdsHalf(graph)) return new Set()
  const isHalf = halfTensors(graph, sites.map((site) => siteNode(graph, site).input[site.dataInput] ?? ''))
  const nodes = new Set<NodeProto>()
  for (const node of graph.sort()) {
    if (staticRole(graph, node) === 'float' || (isOp(node, 'BatchNormalization') && node.output.filter((name) => name !== '').length > 1)) continue
    const touched = [...activationInputs(node).map((i) => node.input[i] ?? ''), ...activationOutputs(node)]
    if (touched.some((name) => decided.has(name)) && touched.some(isHalf)) nodes.add(node)
  }
  for (const record of sites) if (weights.has(record.site.tiedTo ?? record.site.id) || weights.has(record.site.id)) nodes.add(siteNode(graph, record))
  return nodes
}

function isHalfInput(graph: Graph, node: NodeProto, index: number): boolean {
  const constant = graph.constant(node.input[index] ?? '')
  return constant === undefined ? isTyped(node, index) : constant.dataType === DataType.FLOAT16
}

function wideConstant(graph: Graph, name: string, constant: TensorProto, cast: (from: string, to: string, type: number) => void): string {
  const wide = graph.freshName(`${name}_float`)
  const count = constant.dims.reduce((a, b) => a * Number(b), 1)
  if (count <= FEW && !isExternal(constant)) {
    const host = tensorToHost(constant)
    graph.addInitializer(hostToTensor(wide, { dtype: 'float32', shape: host.shape, data: hostToFloat32(host) }))
  } else cast(name, wide, DataType.FLOAT)
  return wide
}
