import { type ActivationParams, INTEGER_CODES, type PlannedActivation } from '@lowbit/core'
import type { NodeProto } from '@lowbit/formats'
import { type Graph, isOp } from '../graph/index.js'
import { activationInputs, activationLimits, staticRole, writesIntegersOnly } from '../static/index.js'

/**
 * Where static activations are rounded. A tensor that an integer kernel writes is rounded for all its readers, outputs of the model
 * among them; one that a float operator writes only for the readers that want integers.
 */
export class StaticPoints {
  readonly #graph: Graph
  readonly #activations: ReadonlyMap<string, ActivationParams>
  /** Products whose weight and input are integers, and that input. */
  readonly #products: ReadonlyMap<NodeProto, string>
  /** Rounded where they are written. */
  readonly #written = new Set<string>()

  constructor(graph: Graph, activations: ReadonlyMap<string, ActivationParams>, products: ReadonlyMap<NodeProto, string>) {
    this.#graph = graph
    this.#activations = activations
    this.#products = products
  }

  /** Every decided activation, in the order in which they are written; inputs of the model last. */
  plan(): readonly PlannedActivation[] {
    const planned: PlannedActivation[] = []
    for (const node of this.#graph.sort()) {
      for (const id of node.output) {
        const params = this.#activations.get(id)
        if (params !== undefined) planned.push(this.#isWritten(node, params) ? this.#planWritten(id, node, params) : this.#read(id, params))
      }
    }
    for (const { name } of this.#graph.proto.input) {
      const params = this.#activations.get(name)
      if (params !== undefined) planned.push(this.#read(name, params))
    }
    return planned
  }

  #planWritten(id: string, producer: NodeProto, params: ActivationParams): PlannedActivation {
    this.#written.add(id)
    return { id, where: 'written', params, clips: this.#clips(producer, params) }
  }

  #read(id: string, params: ActivationParams): PlannedActivation {
    const readers = this.#graph.consumers(id).filter((reader) => this.#wantsIntegers(reader, id))
    if (readers.length === 0) return { id, where: 'nowhere', reason: 'nothing that reads or writes it computes with integers' }
    return { id, where: 'read', params, readers: readers.map((reader) => reader.output.find((name) => name !== '') ?? '') }
  }

  /** Whether ONNX Runtime will write this point as integers: then no float value of it exists. */
  #isWritten(producer: NodeProto, params: ActivationParams): boolean {
    const core = this.#coreOf(producer)
    if (core === undefined) return false
    if (this.#products.has(core)) return writesIntegersOnly(core) || this.#graph.consumers(core.output[0] ?? '').every((reader) => reader !== core && this.#products.has(reader))
    const sources = activationInputs(core).map((i) => core.input[i] ?? '')
    const role = staticRole(this.#graph, core)
    // Integer concatenation rescales its parts; the other movements cannot.
    if (role === 'movement') return sources.every((name) => this.#activations.has(name) && (isOp(core, 'Concat') || sameParams(this.#activations.get(name), params)))
    return (role === 'arithmetic' || role === 'product') && sources.every((name) => this.#written.has(name))
  }

  /** The operator behind a Relu or Clip that alone reads it, else the node itself; undefined where the tensor between is rounded for itself. */
  #coreOf(producer: NodeProto): NodeProto | undefined {
    if (!isOp(producer, 'Relu') && !isOp(producer, 'Clip')) return producer
    const inner = producer.input[0] ?? ''
    if (this.#graph.consumers(inner).length !== 1) return producer
    const before = this.#graph.producer(inner)
    if (before !== undefined && this.#activations.has(inner) && (this.#written.has(inner) || this.#wantsIntegers(producer, inner))) return undefined
    return before ?? producer
  }

  /** True if the Relu or Clip before a rounded tensor can go: the codes clip at least as tightly. */
  #clips(producer: NodeProto, params: ActivationParams): boolean {
    const graph = this.#graph
    const inner = producer.input[0] ?? ''
    if (graph.producer(inner) === undefined || graph.consumers(inner).length !== 1 || graph.isOutput(inner)) return false
    const { min, max } = INTEGER_CODES[params.dtype]
    const low = (min - params.zeroPoint) * params.scale
    const high = (max - params.zeroPoint) * params.scale
    const limits = activationLimits(graph, producer)
    // Half a step: codes beyond the limit would round to the limit's own code.
    return limits !== undefined && low >= limits.low - params.scale / 2 && high <= limits.high + params.scale / 2
  }

  #wantsIntegers(reader: NodeProto, name: string): boolean {
    const input = this.#products.get(reader)
    if (input !== undefined) return input === name
    if (!activationInputs(reader).some((i) => reader.input[i] === name)) return false
    // Logits are as sensitive as masks, and ONNX Runtime's integer Softmax gives wrong results for some output scales.
    if (isOp(reader, 'Softmax') || isOp(reader, 'LogSoftmax')) return false
    const role = staticRole(this.#graph, reader)
    if (role === 'float') return false
    // What is rounded where it is written, from floats, gains nothing by rounding the floats before.
    return reader.output.some((output) => this.#activations.has(output) && !(this.#graph.isInput(name) && this.#written.has(output)))
  }
}

function sameParams(a: ActivationParams | undefined, b: ActivationParams): boolean {
  return a !== undefined && a.dtype === b.dtype && a.scale === b.scale && a.zeroPoint === b.zeroPoint
}
