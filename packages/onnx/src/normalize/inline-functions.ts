import { LowbitError } from '@lowbit/core'
import { type AttributeProto, type FunctionProto, type GraphProto, graph as makeGraph, model as makeModel, type ModelProto, type NodeProto, node as makeNode, opsetVersion, setOpset } from '@lowbit/formats'
import { copyMessage, copyNode, Graph, MICROSOFT, subgraphs } from '../graph/index.js'
import { upgradeOpset } from '../prepare/upgrade-opset.js'

/** Functions that call each other deeper than this, or make more operators, are no model. */
const MAX_DEPTH = 64
const MAX_NODES = 1_000_000

/**
 * Domains whose operators runtimes have kernels for: exporters add a function for engines that have none, and the kernel is what
 * should run.
 */
const WITH_KERNELS = ['', 'ai.onnx', 'ai.onnx.ml', MICROSOFT]

/**
 * Puts the bodies of model-local functions (as torch's dynamo exporter, onnxscript and Keras write them) in the place of their calls, in
 * branches and loops too. Their weights can then be found, and an upgrade of the opset reaches them.
 * @returns what was done
 * @throws LOWBIT_LIMIT for functions that call themselves, LOWBIT_UNSUPPORTED for one of a newer opset than the model
 */
export function inlineFunctions(model: ModelProto): readonly string[] {
  const functions = new Map(model.functions.filter((f) => !WITH_KERNELS.includes(f.domain)).map((f) => [keyOf(f.domain, f.name, f.overload), f]))
  if (functions.size === 0 || model.graph === undefined) return []
  const inliner = new Inliner(model, functions)
  inliner.inside(model.graph, 0)
  const gone = new Set(functions.values())
  model.functions = model.functions.filter((f) => !gone.has(f))
  model.opsetImport = model.opsetImport.filter(({ domain }) => WITH_KERNELS.includes(domain) || isUsed(model, domain))
  return [`${functions.size} functions written out where they are called`]
}

const keyOf = (domain: string, name: string, overload: string): string => JSON.stringify([domain, name, overload])

class Inliner {
  readonly #model: ModelProto
  readonly #functions: ReadonlyMap<string, FunctionProto>
  readonly #bodies = new Map<FunctionProto, readonly NodeProto[]>()
  readonly #names: Set<string>
  #made = 0

  constructor(model: ModelProto, functions: ReadonlyMap<string, FunctionProto>) {
    this.#model = model
    this.#functions = functions
    this.#names = new Set(allNames(model))
  }

  /** Writes out every call in a graph and the graphs inside it. */
  inside(graph: GraphProto, depth: number): void {
    graph.node = this.#written(graph.node, depth)
  }

  #written(nodes: readonly NodeProto[], depth: number): NodeProto[] {
    return nodes.flatMap((node) => {
      for (const body of subgraphs(node)) this.inside(body, depth)
      const called = this.#functions.get(keyOf(node.domain, node.opType, node.overload))
      if (called === undefined) return [node]
      if (depth >= MAX_DEPTH) throw new LowbitError('LOWBIT_LIMIT', { thing: `function '${called.name}'`, found: `calls more than ${MAX_DEPTH} deep`, expected: 'functions that do not call themselves' })
      return this.#written(this.#expand(node, called), depth + 1)
    })
  }

  #expand(call: NodeProto, called: FunctionProto): NodeProto[] {
    const body = this.#body(called)
    this.#made += body.length
    if (this.#made > MAX_NODES) throw new LowbitError('LOWBIT_LIMIT', { thing: `function '${called.name}'`, found: `more than ${MAX_NODES} operators once functions are written out` })
    const label = call.name === '' ? (call.output.find((o) => o !== '') ?? called.name) : call.name
    const renamed = new Map<string, string>([['', '']])
    called.input.forEach((formal, i) => renamed.set(formal, call.input[i] ?? ''))
    called.output.forEach((formal, i) => {
      const actual = call.output[i] ?? ''
      if (!called.input.includes(formal)) renamed.set(formal, actual === '' ? this.#fresh(`${label}/${formal}`) : actual)
    })
    const attributes = new Map<string, AttributeProto>([...called.attributeProto, ...call.attribute].map((a) => [a.name, a]))
    const nodes = body.map((node) => this.#instance(copyNode(node), label, renamed, attributes))
    // A function may hand an input on as an output.
    called.output.forEach((formal, i) => {
      const actual = call.output[i] ?? ''
      if (called.input.includes(formal) && actual !== '') nodes.push(makeNode('Identity', [renamed.get(formal) ?? ''], [actual], {}, '', this.#fresh(`${label}/${formal}`)))
    })
    return nodes
  }

  #instance(node: NodeProto, label: string, renamed: Map<string, string>, attributes: ReadonlyMap<string, AttributeProto>): NodeProto {
    const rename = (name: string): string => {
      const known = renamed.get(name)
      if (known !== undefined) return known
      const fresh = this.#fresh(`${label}/${name}`)
      renamed.set(name, fresh)
      return fresh
    }
    node.name = this.#fresh(`${label}/${node.name === '' ? node.opType : node.name}`)
    node.input = node.input.map(rename)
    node.output = node.output.map(rename)
    node.attribute = node.attribute.flatMap((a) => {
      if (a.refAttrName === '') return [a]
      const given = attributes.get(a.refAttrName)
      if (given === undefined) return []
      const own = copyMessage(given)
      own.name = a.name
      return [own]
    })
    for (const body of subgraphs(node)) {
      body.input = body.input.map((input) => {
        const own = copyMessage(input)
        own.name = rename(input.name)
        return own
      })
      body.initializer = body.initializer.map((t) => {
        const own = copyMessage(t)
        own.name = rename(t.name)
        return own
      })
      body.node = body.node.map((inner) => this.#instance(inner, label, renamed, attributes))
      for (const output of body.output) output.name = rename(output.name)
    }
    return node
  }

  /** Operators of a function, in the opset of the model. */
  #body(called: FunctionProto): readonly NodeProto[] {
    const known = this.#bodies.get(called)
    if (known !== undefined) return known
    const wanted = opsetVersion(this.#model, '')
    const own = called.opsetImport.find(({ domain }) => domain === '' || domain === 'ai.onnx')
    const version = own === undefined ? wanted : Number(own.version)
    if (version > wanted) {
      throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `function '${called.name}'`, found: `opset ${version} in a model of opset ${wanted}`, expected: 'functions no newer than the model', fix: 'export the model with one opset throughout' })
    }
    for (const { domain, version: other } of called.opsetImport) {
      if (!['', 'ai.onnx'].includes(domain) && opsetVersion(this.#model, domain) === 0) setOpset(this.#model, domain, Number(other))
    }
    const body = version === wanted ? called.node : upgraded(called, version, wanted)
    this.#bodies.set(called, body)
    return body
  }

  #fresh(base: string): string {
    let name = base
    for (let i = 1; this.#names.has(name); i++) name = `${base}_${i}`
    this.#names.add(name)
    return name
  }
}

function upgraded(called: FunctionProto, from: number, to: number): readonly NodeProto[] {
  const own = new Graph(makeModel(makeGraph({ nodes: called.node.map(copyNode), inputs: [], outputs: [], initializers: [] }), { '': from }, 8))
  upgradeOpset(own, to)
  const constants = own.initializers().map((t) => makeNode('Constant', [], [t.name], { value: t }))
  return [...constants, ...own.sort()]
}

function* allNames(model: ModelProto): Generator<string> {
  if (model.graph !== undefined) yield* namesOf(model.graph)
}

function* namesOf(graph: GraphProto): Generator<string> {
  for (const { name } of [...graph.input, ...graph.output, ...graph.initializer]) yield name
  for (const node of graph.node) {
    yield node.name
    yield* node.input
    yield* node.output
    for (const body of subgraphs(node)) yield* namesOf(body)
  }
}

function isUsed(model: ModelProto, domain: string): boolean {
  const uses = (graph: GraphProto): boolean => graph.node.some((n) => n.domain === domain || subgraphs(n).some(uses))
  return model.functions.some((f) => f.domain === domain) || (model.graph !== undefined && uses(model.graph))
}
