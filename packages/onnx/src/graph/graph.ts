import { LowbitError } from '@lowbit/core'
import { findAttribute, metadata, opsetVersion, setMetadata, setOpset, valueInfo, type GraphProto, type ModelProto, type NodeProto, type TensorProto } from '@lowbit/formats'
import { copyMessage } from './message.js'
import { isOp } from './node.js'
import { topologicalOrder } from './order.js'
import { capturedNames, copyGraph, namesInside, renameCaptured } from './subgraph.js'

/**
 * A view over a model's main graph that can be changed: who makes and who reads a tensor, kept up to date through
 * every edit. Change nodes through this class only. A name used inside a subgraph (If, Loop, Scan) counts as a use by
 * the node that holds the subgraph. {@link TensorProto}s are never changed in place, so that clones can share them.
 */
export class Graph {
  readonly model: ModelProto
  readonly proto: GraphProto
  readonly #nodes: Set<NodeProto>
  readonly #producers = new Map<string, NodeProto>()
  readonly #consumers = new Map<string, Set<NodeProto>>()
  readonly #captures = new Map<NodeProto, Set<string>>()
  readonly #initializers = new Map<string, TensorProto>()
  readonly #inputs: Set<string>
  #names: Set<string> | undefined

  /**
   * @throws LOWBIT_FORMAT if the model has no graph, or two nodes make the same tensor
   */
  constructor(model: ModelProto) {
    if (model.graph === undefined) {
      throw new LowbitError('LOWBIT_FORMAT', { thing: 'ONNX model', found: 'no graph', fix: 'check that the file is an ONNX model, whole and not a training or function library file' })
    }
    this.model = model
    this.proto = model.graph
    this.#nodes = new Set(this.proto.node)
    this.#inputs = new Set(this.proto.input.map((i) => i.name))
    // Nothing can read a tensor without a name: an empty one in a node's inputs says that there is none.
    for (const tensor of this.proto.initializer) if (tensor.name !== '') this.#initializers.set(tensor.name, tensor)
    for (const node of this.proto.node) this.#index(node)
  }

  /** Nodes in the order of the file, new ones last; see {@link sort}. */
  nodes(): NodeProto[] {
    return [...this.#nodes]
  }

  has(node: NodeProto): boolean {
    return this.#nodes.has(node)
  }

  /** The node that makes a tensor; undefined for graph inputs and initializers. */
  producer(name: string): NodeProto | undefined {
    return this.#producers.get(name)
  }

  /** Nodes that read a tensor, in subgraphs too. Graph outputs are not nodes: see {@link isOutput}. */
  consumers(name: string): NodeProto[] {
    return [...(this.#consumers.get(name) ?? [])]
  }

  /** Names that the subgraphs of a node use from this graph. */
  captures(node: NodeProto): ReadonlySet<string> {
    return this.#captures.get(node) ?? EMPTY
  }

  isInput(name: string): boolean {
    return this.#inputs.has(name)
  }

  isOutput(name: string): boolean {
    return this.proto.output.some((o) => o.name === name)
  }

  initializer(name: string): TensorProto | undefined {
    return this.#initializers.get(name)
  }

  initializers(): TensorProto[] {
    return [...this.#initializers.values()]
  }

  /**
   * The tensor behind a name if it is fixed: an initializer, or a Constant node's `value`. An initializer that is listed
   * as a graph input too counts: old exporters list them all, and nobody feeds them.
   */
  constant(name: string): TensorProto | undefined {
    const stored = this.#initializers.get(name)
    if (stored !== undefined) return stored
    const node = this.#producers.get(name)
    return node !== undefined && isOp(node, 'Constant') ? findAttribute(node, 'value')?.t : undefined
  }

  /**
   * Puts in a new tensor for a name that {@link constant} knows; its uses stay.
   * @throws LOWBIT_INTERNAL if the name is not a constant
   */
  setConstant(name: string, tensor: TensorProto): void {
    if (this.#initializers.has(name)) {
      const named = copyMessage(tensor)
      named.name = name
      this.#initializers.set(name, named)
      return
    }
    const node = this.#producers.get(name)
    const value = node === undefined ? undefined : findAttribute(node, 'value')
    if (node === undefined || value === undefined) {
      throw new LowbitError('LOWBIT_INTERNAL', { thing: `tensor '${name}'`, found: 'not a constant' })
    }
    const changed = copyMessage(value)
    changed.t = tensor
    node.attribute = node.attribute.map((a) => (a === value ? changed : a))
  }

  /** Adds an initializer under its own name, which must be new. */
  addInitializer(tensor: TensorProto): string {
    this.#initializers.set(tensor.name, tensor)
    this.#taken().add(tensor.name)
    return tensor.name
  }

  /** Removes an initializer, and the graph input of its name (old files list each initializer as an input too). */
  removeInitializer(name: string): void {
    this.#initializers.delete(name)
    if (this.#inputs.delete(name)) this.proto.input = this.proto.input.filter((i) => i.name !== name)
  }

  /** Takes initializers out of the graph inputs. @returns their names */
  freeInitializers(): string[] {
    const listed = this.proto.input.map((i) => i.name).filter((name) => this.#initializers.has(name))
    for (const name of listed) this.#inputs.delete(name)
    this.proto.input = this.proto.input.filter((i) => this.#inputs.has(i.name))
    return listed
  }

  addNode(...nodes: readonly NodeProto[]): void {
    for (const node of nodes) {
      this.#nodes.add(node)
      this.#index(node)
      for (const name of node.output) this.#taken().add(name)
    }
  }

  removeNode(node: NodeProto): void {
    this.#nodes.delete(node)
    for (const name of node.output) {
      if (this.#producers.get(name) === node) this.#producers.delete(name)
    }
    for (const name of this.#reads(node)) this.#consumers.get(name)?.delete(node)
    this.#captures.delete(node)
  }

  /** Takes a node out and puts others in its place, which may make the same tensors. */
  replaceNode(node: NodeProto, ...nodes: readonly NodeProto[]): void {
    this.removeNode(node)
    this.addNode(...nodes)
  }

  /** Points one input of a node at another tensor. */
  setInput(node: NodeProto, index: number, name: string): void {
    const before = node.input[index]
    while (node.input.length < index) node.input.push('')
    node.input[index] = name
    if (before !== undefined && !this.#reads(node).has(before)) this.#consumers.get(before)?.delete(node)
    this.#use(name, node)
  }

  /**
   * Points every reader of a tensor at another one, subgraphs included. Graph outputs keep their name.
   * @param except - nodes that go on reading the old one
   */
  replaceUses(from: string, to: string, except: readonly NodeProto[] = []): void {
    for (const node of this.consumers(from)) {
      if (except.includes(node)) continue
      node.input = node.input.map((name) => (name === from ? to : name))
      if (this.captures(node).has(from)) {
        renameCaptured(node, from, to)
        this.#captures.set(node, capturedNames(node))
      }
      this.#consumers.get(from)?.delete(node)
      this.#use(to, node)
    }
  }

  /** Gives a tensor that an operator makes, or an input of the model, another name everywhere, outputs of the model too. */
  rename(from: string, to: string): void {
    const producer = this.#producers.get(from)
    if (producer !== undefined) {
      producer.output = producer.output.map((name) => (name === from ? to : name))
      this.#producers.delete(from)
      this.#producers.set(to, producer)
    }
    if (this.#inputs.delete(from)) {
      this.#inputs.add(to)
      this.proto.input = this.proto.input.map((info) => (info.name === from ? renamed(info, to) : info))
    }
    this.replaceUses(from, to)
    this.renameOutput(from, to)
  }

  /** Lets an output of the model be another tensor, under that one's name. */
  renameOutput(from: string, to: string): void {
    this.proto.output = this.proto.output.map((info) => (info.name === from ? renamed(info, to) : info))
  }

  /**
   * Gives a node's output another name and leaves its readers and the graph's outputs at the old one, so that a new
   * node can stand between.
   * @returns the new name
   */
  detachOutput(node: NodeProto, index: number): string {
    const old = node.output[index]
    if (old === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: `node '${node.name}'`, found: `no output ${index}` })
    const fresh = this.freshName(`${old}_raw`)
    node.output[index] = fresh
    this.#producers.delete(old)
    this.#producers.set(fresh, node)
    return fresh
  }

  /** Makes a tensor a graph output, with only a name: the runtime knows its type and shape. */
  addOutput(name: string): void {
    if (!this.isOutput(name)) this.proto.output.push(valueInfo(name))
  }

  /** A tensor or node name that the model does not use yet, `base` itself if it is free. Taken at once. */
  freshName(base: string): string {
    const taken = this.#taken()
    let name = base
    for (let i = 1; taken.has(name); i++) name = `${base}_${i}`
    taken.add(name)
    return name
  }

  /**
   * Puts nodes in an order in which they can run.
   * @throws LOWBIT_FORMAT on a cycle
   */
  sort(): NodeProto[] {
    const order = topologicalOrder(this.nodes(), (name) => this.#producers.get(name), (node) => this.#reads(node))
    this.#nodes.clear()
    for (const node of order) this.#nodes.add(node)
    return order
  }

  /** Removes nodes and initializers that nothing reads any more. Nodes that hold subgraphs or make nothing stay. */
  removeDead(): void {
    const outputs = new Set(this.proto.output.map((o) => o.name))
    const isRead = (name: string): boolean => name !== '' && (outputs.has(name) || (this.#consumers.get(name)?.size ?? 0) > 0)
    for (const node of this.sort().reverse()) {
      if (node.output.length > 0 && !node.output.some(isRead)) this.removeNode(node)
    }
    for (const name of [...this.#initializers.keys()]) {
      if (!isRead(name)) this.removeInitializer(name)
    }
  }

  /** Removes what makes a tensor if nothing reads it any more: its initializer, or its node and what only that node read. */
  removeIfUnread(name: string): void {
    if (name === '' || this.isOutput(name) || (this.#consumers.get(name)?.size ?? 0) > 0) return
    if (this.#initializers.has(name)) return this.removeInitializer(name)
    const node = this.#producers.get(name)
    if (node === undefined || node.output.some((o) => o !== name && (this.isOutput(o) || (this.#consumers.get(o)?.size ?? 0) > 0))) return
    const inputs = new Set(node.input)
    this.removeNode(node)
    for (const input of inputs) this.removeIfUnread(input)
  }

  /** Version of an operator set that the model imports, 0 if it does not. */
  opset(domain = ''): number {
    return opsetVersion(this.model, domain)
  }

  /** Imports an operator set, or changes the version it is imported at. Changing ONNX's own needs an upgrade of the nodes. */
  setOpset(domain: string, version: number): void {
    setOpset(this.model, domain, version)
  }

  metadata(key: string): string | undefined {
    return metadata(this.model, key)
  }

  setMetadata(key: string, value: string): void {
    setMetadata(this.model, key, value)
  }

  /**
   * Writes nodes (sorted) and initializers back into the message.
   * @throws LOWBIT_FORMAT on a cycle
   */
  toModel(): ModelProto {
    this.proto.node = this.sort()
    this.proto.initializer = [...this.#initializers.values()]
    return this.model
  }

  /** A graph of its own over the same tensors: weights are not copied. */
  clone(): Graph {
    const model = copyMessage(this.model)
    model.opsetImport = this.model.opsetImport.map(copyMessage)
    model.metadataProps = this.model.metadataProps.map(copyMessage)
    const source = copyMessage(this.proto)
    source.node = this.nodes()
    source.initializer = this.initializers()
    model.graph = copyGraph(source)
    return new Graph(model)
  }

  #index(node: NodeProto): void {
    for (const name of node.output) {
      if (name === '') continue
      const other = this.#producers.get(name)
      if (other !== undefined && other !== node) {
        throw new LowbitError('LOWBIT_FORMAT', { thing: `tensor '${name}'`, found: `made by two nodes, '${other.name}' (${other.opType}) and '${node.name}' (${node.opType})`, expected: 'one producer', fix: 'export the model again: the file is damaged' })
      }
      this.#producers.set(name, node)
    }
    const captures = capturedNames(node)
    if (captures.size > 0) this.#captures.set(node, captures)
    for (const name of this.#reads(node)) this.#use(name, node)
  }

  #reads(node: NodeProto): Set<string> {
    const names = new Set(node.input)
    this.captures(node).forEach((name) => names.add(name))
    names.delete('')
    return names
  }

  #use(name: string, node: NodeProto): void {
    if (name === '') return
    const users = this.#consumers.get(name)
    if (users === undefined) this.#consumers.set(name, new Set([node]))
    else users.add(node)
  }

  /** Tensor and node names together: one pool is enough to stay clear of both. */
  #taken(): Set<string> {
    if (this.#names !== undefined) return this.#names
    const names = new Set<string>([...this.#inputs, ...this.#initializers.keys()])
    for (const node of this.#nodes) {
      names.add(node.name)
      for (const name of node.input) names.add(name)
      for (const name of node.output) names.add(name)
      namesInside(node).forEach((name) => names.add(name))
    }
    for (const output of this.proto.output) names.add(output.name)
    this.#names = names
    return names
  }
}

function renamed<T extends { name: string }>(info: T, name: string): T {
  const copy = copyMessage(info)
  copy.name = name
  return copy
}

const EMPTY: ReadonlySet<string> = new Set()
