import { LARGEST_HALF, throwIfAborted, toFloat16, type OnProgress } from '@lowbit/core'
import { attribute, DataType, findAttribute, hostToFloat32, hostToTensor, node as makeNode, type NodeProto, type OnnxType, tensorToHost, type ValueInfoProto } from '@lowbit/formats'
import { copyMessage, type Graph, isOp } from '../graph/index.js'
import type { LoadTensor } from '../sites/weights.js'
import { chooseHalf, type HalfChoice, type StaysWide } from './choose-half.js'
import { elementTypes } from './element-types.js'
import { clampMasks } from './clamp-masks.js'
import { isTypedInput } from './operators.js'

export interface Float16Options extends HalfChoice {
  /** What callers of the model give and get: `float32` behind Casts (default), or `float16`. */
  readonly io?: 'float32' | 'float16'
  readonly signal?: AbortSignal
  readonly onProgress?: OnProgress
}

/** What became of a model in float16. */
export interface Float16Conversion {
  /** Operators that compute in float16 now. */
  readonly converted: number
  readonly wide: readonly StaysWide[]
  /** Constants of masks that were brought into float16's range, by name. */
  readonly clamped: readonly string[]
}

/**
 * Lets a float32 model compute in float16: weights half the size, and activations where they fit. What float16 cannot hold stays in
 * float32 between Casts: values measured (or, without data, bound) to leave its range, numbers that it would make 0, operators that do
 * not take it, bodies of branches and loops.
 * @param graph - changed in place
 * @throws LOWBIT_ABORTED
 */
export async function convertToFloat16(graph: Graph, load: LoadTensor, options: Float16Options = {}): Promise<Float16Conversion> {
  const clamped = await clampMasks(graph, load)
  const types = elementTypes(graph)
  const { half, wide } = await chooseHalf(graph, types, load, options)
  const isFloat = (name: string): boolean => types.get(name) === 'float32'
  const made = new Set([...half].flatMap((node) => node.output.filter(isFloat)))
  const inputs = new Set(options.io === 'float16' ? graph.proto.input.filter(({ name }) => isFloat(name) && graph.initializer(name) === undefined).map(({ name }) => name) : [])
  const casts = new Map<string, string>()
  /** The tensor in the other type: a constant anew, anything else behind one Cast for all its readers. */
  const other = async (name: string, to: OnnxType): Promise<string> => {
    const key = `${to} ${name}`
    const known = casts.get(key)
    if (known !== undefined) return known
    const fresh = graph.freshName(`${name}_${to}`)
    casts.set(key, fresh)
    const constant = to === 'float16' ? graph.constant(name) : undefined
    if (constant === undefined) graph.addNode(cast(name, fresh, to, graph))
    else {
      const host = await load(constant)
      graph.addInitializer(hostToTensor(fresh, { dtype: 'float16', shape: host.shape, data: toFloat16(hostToFloat32(host)) }))
    }
    return fresh
  }
  /** A weight of an operator that computes in float32 still takes half the room; the runtime widens it once, when it loads the model. */
  const widened = async (name: string): Promise<string> => {
    const half = await other(name, 'float16')
    const key = `wide ${name}`
    const fresh = casts.get(key) ?? graph.freshName(`${name}_float32`)
    if (!casts.has(key)) graph.addNode(cast(half, fresh, 'float32', graph))
    casts.set(key, fresh)
    return fresh
  }
  const nodes = graph.sort()
  for (const [done, node] of nodes.entries()) {
    throwIfAborted(options.signal, 'conversion to float16')
    options.onProgress?.({ phase: 'emit', done, total: nodes.length, item: node.name })
    for (const [i, name] of node.input.entries()) {
      if (!isFloat(name)) continue
      const isHalf = made.has(name) || inputs.has(name)
      const wanted = half.has(node) && isTypedInput(node, i)
      if (wanted && !isHalf) graph.setInput(node, i, await other(name, 'float16'))
      else if (!wanted && isHalf) graph.setInput(node, i, await other(name, 'float32'))
      else if (!wanted && (await isWeight(graph, name, load))) graph.setInput(node, i, await widened(name))
    }
    for (const name of graph.captures(node)) {
      if (isFloat(name) && (made.has(name) || inputs.has(name))) graph.replaceUses(name, await other(name, 'float32'), graph.consumers(name).filter((reader) => reader !== node))
    }
    if (half.has(node)) retype(node)
  }
  settleOutputs(graph, made, inputs, options.io ?? 'float32', isFloat)
  graph.proto.input = graph.proto.input.map((info) => (inputs.has(info.name) ? withType(info, DataType.FLOAT16) : info))
  graph.proto.valueInfo = graph.proto.valueInfo.filter(({ name }) => !made.has(name))
  for (const tensor of graph.initializers()) if (isFloat(tensor.name)) graph.removeIfUnread(tensor.name)
  graph.removeDead()
  return { converted: half.size, wide, clamped }
}

/** Constants of at least this many values are stored in float16 wherever they are read. */
const WEIGHT = 1024

/** True for a large constant whose values float16 holds. */
async function isWeight(graph: Graph, name: string, load: LoadTensor): Promise<boolean> {
  const constant = graph.constant(name)
  if (constant === undefined || constant.dims.reduce((n, d) => n * Number(d), 1) < WEIGHT) return false
  return hostToFloat32(await load(constant)).every((value) => !(Math.abs(value) > LARGEST_HALF) || !Number.isFinite(value))
}

function cast(from: string, to: string, type: OnnxType, graph: Graph): NodeProto {
  return makeNode('Cast', [from], [to], { to: type === 'float16' ? DataType.FLOAT16 : DataType.FLOAT }, '', graph.freshName(`${to}/Cast`))
}

/** What a Cast makes, and the value of a ConstantOfShape, say their type. */
function retype(node: NodeProto): void {
  if (isOp(node, 'Cast')) node.attribute = [...node.attribute.filter((a) => a.name !== 'to'), attribute('to', DataType.FLOAT16)]
  if (!isOp(node, 'ConstantOfShape')) return
  const value = findAttribute(node, 'value')
  const number = value?.t === undefined ? 0 : (hostToFloat32(tensorToHost(value.t))[0] ?? 0)
  const tensor = hostToTensor('value', { dtype: 'float16', shape: [1], data: toFloat16(Float32Array.of(number)) })
  node.attribute = [...node.attribute.filter((a) => a !== value), attribute('value', tensor)]
}

/** Outputs of the model get back the type that they had, or the one asked for. */
function settleOutputs(graph: Graph, made: ReadonlySet<string>, inputs: ReadonlySet<string>, io: 'float32' | 'float16', isFloat: (name: string) => boolean): void {
  for (const info of [...graph.proto.output]) {
    const { name } = info
    if (!isFloat(name)) continue
    const isHalf = made.has(name) || inputs.has(name)
    if (isHalf === (io === 'float16')) {
      if (isHalf) graph.proto.output = graph.proto.output.map((o) => (o === info ? withType(o, DataType.FLOAT16) : o))
      continue
    }
    const producer = graph.producer(name)
    // An input or initializer that is an output too has no operator whose result could get another name.
    if (producer === undefined) continue
    const inner = graph.detachOutput(producer, producer.output.indexOf(name))
    graph.replaceUses(name, inner)
    graph.addNode(cast(inner, name, isHalf ? 'float32' : 'float16', graph))
    if (!isHalf) graph.proto.output = graph.proto.output.map((o) => (o === info ? withType(o, DataType.FLOAT16) : o))
  }
}

function withType(info: ValueInfoProto, elemType: number): ValueInfoProto {
  const value = info.type?.value
  if (info.type === undefined || value?.case !== 'tensorType') return info
  const tensor = copyMessage(value.value)
  tensor.elemType = elemType
  const type = copyMessage(info.type)
  type.value = { case: 'tensorType', value: tensor }
  const own = copyMessage(info)
  own.type = type
  return own
}
