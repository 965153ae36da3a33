import { type ActivationParams, type PlannedActivation, type PlannedBias, type PlannedWeight } from '@lowbit/core'
import { node as makeNode, type NodeProto } from '@lowbit/formats'
import { addConstant, addFloats, type Graph, MICROSOFT } from '../graph/index.js'
import { codesOf, gridOf, type OnnxPlan, storedTensor } from '../plan/onnx-plan.js'
import { outputAxis } from '../plan/static-weights.js'
import { widen, type Widened } from '../static/index.js'
import { expectRecord, fromRows, type SiteRecord, siteNode } from '../sites/index.js'
import { activationConstants } from './activation-constants.js'
import { dequantizeDomain } from './dequantize-weight.js'
import { store } from './store.js'

/** A weight that the runtime fuses with its product: codes and a DequantizeLinear. */
export function writeStaticWeight(graph: Graph, weight: PlannedWeight, sites: readonly SiteRecord[]): void {
  const [owner] = sites
  if (owner === undefined) return
  const { codes, params: { scales } } = codesOf(weight)
  const { shift } = gridOf(weight)
  const isUnsigned = storedTensor(weight, 'codes')?.type === 'uint8'
  const array = (values: ArrayLike<number>): Uint8Array<ArrayBuffer> | Int8Array<ArrayBuffer> => (isUnsigned ? Uint8Array.from(values, (v) => v + shift) : Int8Array.from(values, (v) => v + shift))
  const { name } = owner.site.weight
  const perChannel = (storedTensor(weight, 'scales')?.shape.length ?? 0) > 0
  const inputs = [
    store(graph, weight, 'codes', `${name}_q`, fromRows(array(codes), owner.matrix)),
    store(graph, weight, 'scales', `${name}_scale`, new Float32Array(scales)),
    store(graph, weight, 'zeroPoints', `${name}_zero_point`, array(new Array<number>(scales.length).fill(0))),
  ]
  const output = graph.freshName(`${name}_dq`)
  graph.addNode(makeNode('DequantizeLinear', inputs, [output], perChannel ? { axis: outputAxis(owner) } : {}))
  for (const record of sites) graph.setInput(siteNode(graph, record), record.weightInput, output)
}

/** A bias as int32 codes behind a DequantizeLinear. */
export function writeBias(graph: Graph, record: SiteRecord, { codes, scales }: PlannedBias): void {
  const node = siteNode(graph, record)
  const name = node.input[2] ?? 'bias'
  const dequantized = graph.freshName(`${name}_dq`)
  const inputs = [
    addConstant(graph, `${name}_q`, { dtype: 'int32', shape: codes.shape, data: Int32Array.from(codes.data) }),
    addConstant(graph, `${name}_scale`, { dtype: 'float32', shape: scales.shape, data: Float32Array.from(scales.data) }),
  ]
  graph.addNode(makeNode('DequantizeLinear', inputs, [dequantized], scales.shape.length > 0 ? { axis: 0 } : {}))
  graph.setInput(node, 2, dequantized)
}

/** Lets what a plan rounds compute in float32, as it was planned. */
export function widenPlanned(graph: Graph, records: readonly SiteRecord[], { activations, weights }: Pick<OnnxPlan, 'activations' | 'weights'>): Widened {
  return widen(graph, records, new Set(activations.map((a) => a.id)), new Set(weights.flatMap((w) => w.sites)))
}

/** Biases and activations of a static plan, as pairs of QuantizeLinear and DequantizeLinear. */
export function writeStaticActivations(graph: Graph, records: readonly SiteRecord[], { biases, activations }: OnnxPlan): void {
  for (const bias of biases) writeBias(graph, expectRecord(records, bias.site), bias)
  const pairs = new ActivationPairs(graph)
  // Readers are found before anything is renamed.
  const readers = new Map(activations.flatMap((a) => (a.where === 'read' ? [[a.id, a.readers.flatMap((output) => graph.producer(output) ?? [])] as const] : [])))
  for (const activation of activations) pairs.write(activation, readers.get(activation.id) ?? [])
}

/** Writes rounded activations. */
export class ActivationPairs {
  readonly #graph: Graph
  readonly #constants: ReturnType<typeof activationConstants>

  constructor(graph: Graph) {
    this.#graph = graph
    this.#constants = activationConstants(graph)
  }

  write(activation: PlannedActivation, readers: readonly NodeProto[]): void {
    if (activation.where === 'written') this.#atSource(activation.id, activation.params, activation.clips)
    if (activation.where === 'read') this.#forReaders(activation.id, activation.params, readers, activation.codes)
  }

  #atSource(name: string, params: ActivationParams, clips: boolean): void {
    const graph = this.#graph
    if (clips) this.#dropClip(name)
    const writer = graph.producer(name)
    if (writer === undefined) return this.#forReaders(name, params, graph.consumers(name))
    const raw = graph.detachOutput(writer, writer.output.indexOf(name))
    this.#pair(raw, name, name, params)
  }

  /** Takes out the Relu or Clip that makes a tensor: what made its input makes the tensor itself. */
  #dropClip(name: string): void {
    const graph = this.#graph
    const clip = graph.producer(name)
    const inner = clip?.input[0] ?? ''
    const before = graph.producer(inner)
    if (clip === undefined || before === undefined) return
    const index = before.output.indexOf(inner)
    graph.removeNode(clip)
    graph.removeNode(before)
    before.output[index] = name
    graph.addNode(before)
  }

  #forReaders(name: string, params: ActivationParams, readers: readonly NodeProto[], codes?: readonly [number, number]): void {
    const graph = this.#graph
    const dequantized = graph.freshName(`${name}_dq`)
    this.#pair(codes === undefined ? name : this.#clipped(name, params, codes), dequantized, name, params)
    for (const reader of readers) {
      reader.input.forEach((input, index) => {
        if (input === name) graph.setInput(reader, index, dequantized)
      })
    }
  }

  /** QuantizeLinear saturates at the ends of its type; narrower codes are clipped before. */
  #clipped(name: string, { scale, zeroPoint }: ActivationParams, codes: readonly [number, number]): string {
    const graph = this.#graph
    const out = graph.freshName(`${name}_clipped`)
    const limits = codes.map((code, i) => addFloats(graph, `${name}_${i === 0 ? 'low' : 'high'}`, Float32Array.of((code - zeroPoint) * scale), []))
    graph.addNode(makeNode('Clip', [name, ...limits], [out]))
    return out
  }

  #pair(from: string, to: string, base: string, params: ActivationParams): void {
    const graph = this.#graph
    const [scale, zero] = this.#constants(params, base)
    const domain = dequantizeDomain(graph, params.dtype, false, 'float32')
    if (domain === MICROSOFT) graph.setOpset(MICROSOFT, Math.max(1, graph.opset(MICROSOFT)))
    const codes = graph.freshName(`${base}_q`)
    graph.addNode(makeNode('QuantizeLinear', [from, scale, zero], [codes], {}, domain), makeNode('DequantizeLinear', [codes, scale, zero], [to], {}, domain))
  }
}
