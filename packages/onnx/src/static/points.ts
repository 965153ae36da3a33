import type { ActivationPoint, OperatorChoice, TensorRef } from '@lowbit/core'
import type { NodeProto } from '@lowbit/formats'
import { type Graph, isOp } from '../graph/index.js'
import { operandName, siteNode, type SiteRecord } from '../sites/site-record.js'
import { activationLimits } from './activation-limits.js'
import { shieldedTensors } from './masks.js'
import { activationInputs, activationOutputs, hasIntegerProduct, staticRole, writesIntegersOnly } from './operators.js'
import { Union } from './union.js'

export interface PointOptions {
  readonly operators?: OperatorChoice
  /** Types of the tensors, needed for anything but `default`: only float32 and float16 tensors are activations. */
  readonly types?: ReadonlyMap<string, TensorRef>
}

/**
 * The tensors that a static quantization of these sites would quantize, with those that must share one scale in a group.
 * Masks, ids and shapes never appear.
 */
export function activationPoints(graph: Graph, records: readonly SiteRecord[], options: PointOptions = {}): ActivationPoint[] {
  const { operators = 'default', types = new Map() } = options
  const takesPart = (node: NodeProto): boolean => typeof operators === 'string' || operators.includes(node.opType)
  const chosen = new Set<string>()
  const readers = new Map<string, string[]>()
  for (const record of records) {
    const { site } = record
    if (!hasIntegerProduct(record.op)) continue
    const node = siteNode(graph, record)
    if (!takesPart(node)) continue
    const input = operandName(graph, record, 'data')
    chosen.add(input)
    readers.set(input, [...(readers.get(input) ?? []), site.id])
    if (writesIntegersOnly(node)) chosen.add(afterActivation(graph, node))
  }
  if (operators !== 'default') addOperators(graph, chosen, types, takesPart)
  const union = shareThroughMovements(graph, chosen)
  const within = holders(graph, chosen, union)
  const order = [...graph.proto.input.map((i) => i.name), ...graph.sort().flatMap((node) => node.output)]
  return order
    .filter((name) => chosen.has(name))
    .map((id) => {
      const holder = within.get(id)
      return {
        id,
        group: union.find(id),
        ...(holder === undefined ? {} : { within: holder }),
        sites: readers.get(id) ?? [],
        ops: [...new Set([graph.producer(id), ...graph.consumers(id)].flatMap((node) => (node === undefined ? [] : [node.opType])))],
      }
    })
}

/** For points that share a scale: where their values come from, or what they were put together into. */
function holders(graph: Graph, chosen: ReadonlySet<string>, union: Union): ReadonlyMap<string, string> {
  const within = new Map<string, string>()
  const note = (part: string, whole: string): void => {
    // The first found stays: a tensor that goes into several Concats is in each of them.
    if (part !== whole && !within.has(part) && chosen.has(part) && chosen.has(whole) && union.find(part) === union.find(whole)) within.set(part, whole)
  }
  for (const node of graph.nodes()) {
    if (staticRole(graph, node) !== 'movement') continue
    const [first = ''] = node.input
    const outputs = activationOutputs(node)
    if (isOp(node, 'Concat')) for (const i of activationInputs(node)) note(node.input[i] ?? '', outputs[0] ?? '')
    else for (const output of outputs) note(output, first)
  }
  return within
}

/**
 * The output of a node, or of the Relu or Clip that alone reads it: the integer kernel does their work by clipping codes.
 */
export function afterActivation(graph: Graph, node: NodeProto): string {
  const output = node.output[0] ?? ''
  const [only, ...others] = graph.consumers(output)
  if (only === undefined || others.length > 0 || graph.isOutput(output)) return output
  return (isOp(only, 'Relu') || isOp(only, 'Clip')) && only.input[0] === output ? (only.output[0] ?? output) : output
}

/** Quantizing before a movement equals quantizing after it: so points move up, and integers are what is moved. */
function shareThroughMovements(graph: Graph, chosen: Set<string>): Union {
  const union = new Union()
  for (const node of graph.sort().reverse()) {
    if (staticRole(graph, node) !== 'movement' || !activationOutputs(node).some((name) => chosen.has(name))) continue
    const inputs = activationInputs(node).map((i) => node.input[i] ?? '')
    // A constant part of a Concat keeps its own type, so the parts cannot be joined as integers.
    if (inputs.some((name) => graph.constant(name) !== undefined)) continue
    const moved = [...inputs, ...activationOutputs(node)]
    for (const name of moved) chosen.add(name)
    // One scale for parts with and without negative values would take the work of clipping away from the codes of a Relu.
    const isMixed = isOp(node, 'Concat') && new Set(inputs.map((name) => isNonNegative(graph, name))).size > 1
    if (!isMixed) for (const name of moved) union.join(moved[0] ?? name, name)
  }
  return union
}

/** True if a tensor holds no negative values by the operator that makes it. */
function isNonNegative(graph: Graph, name: string): boolean {
  const producer = graph.producer(name)
  if (producer === undefined) return false
  if (['Relu', 'Sigmoid', 'HardSigmoid', 'Softmax', 'Abs'].some((op) => isOp(producer, op))) return true
  if (isOp(producer, 'Clip')) return (activationLimits(graph, producer)?.low ?? -1) >= 0
  return staticRole(graph, producer) === 'movement' && activationInputs(producer).every((i) => isNonNegative(graph, producer.input[i] ?? ''))
}

/** Types of activations. */
const FLOATS: ReadonlySet<string> = new Set(['float32', 'float16'])

function addOperators(graph: Graph, chosen: Set<string>, types: ReadonlyMap<string, TensorRef>, takesPart: (node: NodeProto) => boolean): void {
  const shielded = shieldedTensors(graph)
  const computed = computedTensors(graph)
  const isActivation = (name: string): boolean => FLOATS.has(types.get(name)?.dtype ?? '') && computed.has(name) && !shielded.has(name)
  for (const node of graph.nodes()) {
    if (staticRole(graph, node) === 'float' || !takesPart(node)) continue
    const names = [...activationInputs(node).map((i) => node.input[i] ?? ''), ...activationOutputs(node)]
    // The logits of a Softmax are as sensitive as its mask: eight bits over their whole range flatten it.
    if (isOp(node, 'Softmax')) names.shift()
    if (activationOutputs(node).some((name) => shielded.has(name))) continue
    for (const name of names) {
      if (isActivation(name) && !isInnerActivation(graph, name)) chosen.add(name)
    }
  }
}

/** Tensors that depend on the model's inputs: what is made of stored ones alone is a weight on its way. */
function computedTensors(graph: Graph): ReadonlySet<string> {
  const computed = new Set(graph.proto.input.map((i) => i.name).filter((name) => graph.initializer(name) === undefined))
  for (const node of graph.sort()) {
    if (node.input.some((name) => computed.has(name)) || [...graph.captures(node)].some((name) => computed.has(name))) for (const name of node.output) computed.add(name)
  }
  return computed
}

/** The tensor between a product or sum and its Relu or Clip: it does not exist in integer kernels. */
function isInnerActivation(graph: Graph, name: string): boolean {
  const producer = graph.producer(name)
  return producer !== undefined && !isOp(producer, 'Relu') && !isOp(producer, 'Clip') && staticRole(graph, producer) !== 'movement' && afterActivation(graph, producer) !== name
}
