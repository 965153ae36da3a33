import { DataType, intAttribute, intsAttribute, type NodeProto, tensorShape, tensorToHost, type TensorProto } from '@lowbit/formats'
import { type Graph, isOp } from '../graph/index.js'
import { STORED_MARK } from './site-record.js'

/** A step between a stored tensor and the operator that takes it: it moves elements, and computes nothing. */
export type ChainStep =
  | { readonly kind: 'transpose'; readonly node: NodeProto; readonly perm: readonly number[] }
  | { readonly kind: 'reshape'; readonly node: NodeProto; readonly shape: readonly number[] }

/** A tensor that is stored, perhaps transposed or reshaped on its way to the operator. */
export interface ConstantChain {
  /** Name of the stored tensor. */
  readonly root: string
  readonly tensor: TensorProto
  /** From the stored tensor on. */
  readonly steps: readonly ChainStep[]
  /** As the operator takes it. */
  readonly shape: readonly number[]
  /** Element type as the operator takes it: a Cast may stand in between. */
  readonly type: number
}

/** Chains longer than this are not weights. */
const MAX_STEPS = 8

/** Follows a name up through Identity, Transpose, Reshape, Squeeze, Unsqueeze and Flatten to a stored tensor. */
export function constantChain(graph: Graph, name: string): ConstantChain | undefined {
  const nodes: NodeProto[] = []
  let at = name
  let tensor = graph.constant(at)
  while (tensor === undefined) {
    const node = graph.producer(at)
    // A tensor that was given a place of its own is no part of another.
    if (node === undefined || node.docString === STORED_MARK || nodes.length >= MAX_STEPS || !isMover(node)) return undefined
    nodes.unshift(node)
    at = node.input[0] ?? ''
    tensor = graph.constant(at)
  }
  const steps: ChainStep[] = []
  let shape: readonly number[] = tensorShape(tensor)
  let type: number = tensor.dataType
  for (const node of nodes) {
    if (isOp(node, 'Cast')) {
      type = castTarget(node, type)
      if (type === DataType.UNDEFINED) return undefined
      continue
    }
    const step = stepOf(graph, node, shape)
    if (step === undefined) return undefined
    if (step === 'nothing') continue
    steps.push(step)
    shape = step.kind === 'reshape' ? step.shape : step.perm.map((axis) => shape[axis] ?? 0)
  }
  return { root: at, tensor, steps, shape, type }
}

const FLOATS: readonly number[] = [DataType.FLOAT, DataType.FLOAT16, DataType.BFLOAT16, DataType.DOUBLE]

/** The type that a Cast between floats gives; UNDEFINED for other types. */
function castTarget(node: NodeProto, from: number): number {
  const to = intAttribute(node, 'to', DataType.UNDEFINED)
  return FLOATS.includes(from) && FLOATS.includes(to) ? to : DataType.UNDEFINED
}

/** Operators that move elements, with the inputs they have at most: damaged files give them more, which are no constants. */
const MOVERS: readonly (readonly [op: string, inputs: number])[] = [['Identity', 1], ['Cast', 1], ['Transpose', 1], ['Reshape', 2], ['Squeeze', 2], ['Unsqueeze', 2], ['Flatten', 1]]

function isMover(node: NodeProto): boolean {
  return MOVERS.some(([op, inputs]) => isOp(node, op) && node.input.length <= inputs)
}

function stepOf(graph: Graph, node: NodeProto, shape: readonly number[]): ChainStep | 'nothing' | undefined {
  if (isOp(node, 'Identity')) return 'nothing'
  if (isOp(node, 'Transpose')) {
    const perm = intsAttribute(node, 'perm') ?? shape.map((_, i) => shape.length - 1 - i)
    return perm.length === shape.length ? { kind: 'transpose', node, perm } : undefined
  }
  const target = reshapeTarget(graph, node, shape)
  const count = (s: readonly number[]): number => s.reduce((a, b) => a * b, 1)
  return target === undefined || count(target) !== count(shape) ? undefined : { kind: 'reshape', node, shape: target }
}

function reshapeTarget(graph: Graph, node: NodeProto, shape: readonly number[]): readonly number[] | undefined {
  const count = shape.reduce((a, b) => a * b, 1)
  if (isOp(node, 'Flatten')) {
    const axis = intsOf(graph, node, 'axis')?.[0] ?? 1
    const outer = shape.slice(0, axis).reduce((a, b) => a * b, 1)
    return outer === 0 ? undefined : [outer, count / outer]
  }
  if (isOp(node, 'Reshape')) {
    const wanted = intsOf(graph, node, 'shape')
    if (wanted === undefined) return undefined
    const copied = wanted.map((size, i) => (size === 0 ? shape[i] ?? 0 : size))
    const known = copied.reduce((a, b) => (b === -1 ? a : a * b), 1)
    return copied.map((size) => (size === -1 ? count / known : size))
  }
  const axes = intsOf(graph, node, 'axes')
  if (isOp(node, 'Squeeze')) {
    const drop = axes?.map((a) => (a < 0 ? a + shape.length : a)) ?? shape.flatMap((size, i) => (size === 1 ? [i] : []))
    return shape.filter((_, i) => !drop.includes(i))
  }
  if (axes === undefined) return undefined
  const rank = shape.length + axes.length
  const added = axes.map((a) => (a < 0 ? a + rank : a))
  const rest = shape[Symbol.iterator]()
  return Array.from({ length: rank }, (_, i) => (added.includes(i) ? 1 : Number(rest.next().value ?? 1)))
}

/** Axes and shapes were attributes in old opsets and are inputs in new ones. */
function intsOf(graph: Graph, node: NodeProto, attribute: string): readonly number[] | undefined {
  const own = node.attribute.find((a) => a.name === attribute)
  if (own !== undefined) return own.ints.length > 0 ? own.ints.map(Number) : [Number(own.i)]
  const input = node.input[1]
  const stored = input === undefined || input === '' ? undefined : graph.constant(input)
  return stored === undefined ? undefined : Array.from(tensorToHost(stored).data, Number)
}
