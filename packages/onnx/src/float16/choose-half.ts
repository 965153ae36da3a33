import { LARGEST_HALF } from '@lowbit/core'
import { hostToFloat32, type NodeProto, type OnnxType, type TensorProto } from '@lowbit/formats'
import { type Graph, isOp } from '../graph/index.js'
import type { LoadTensor } from '../sites/weights.js'
import { isTypedInput, takesHalf } from './operators.js'
import { wideTensors, type TensorRange } from './wide-tensors.js'

/** Half of the smallest float16 above zero: what is below becomes 0. */
const UNDERFLOW = 2 ** -25

/** Constants up to this size are numbers that a formula needs (a variance's 1e-12); in larger ones a few zeros more do not matter. */
const FEW = 16

/** Operators that stay in float32 because of their name, as `Softmax`, or a node's own. */
export interface HalfChoice {
  readonly blocked?: readonly string[]
  readonly ranges?: ReadonlyMap<string, TensorRange>
}

/** Why operators stay in float32. */
export interface StaysWide {
  readonly node: string
  readonly op: string
  readonly reason: string
}

/**
 * The operators that compute in float16, and why others do not. Operators between two that stay are not worth two Casts: they stay too,
 * unless they hold weights.
 */
export async function chooseHalf(graph: Graph, types: ReadonlyMap<string, OnnxType>, load: LoadTensor, { blocked = [], ranges }: HalfChoice): Promise<{ readonly half: Set<NodeProto>; readonly wide: readonly StaysWide[] }> {
  const overflowing = wideTensors(graph, types, ranges)
  const half = new Set<NodeProto>()
  const wide: StaysWide[] = []
  const isFloat = (name: string): boolean => types.get(name) === 'float32'
  for (const node of graph.sort()) {
    if (isOp(node, 'Constant')) continue
    const floats = [...node.input.filter((name, i) => isTypedInput(node, i) && isFloat(name)), ...node.output.filter(isFloat)]
    if (floats.length === 0) continue
    const reason = await whyWide(node)
    if (reason === undefined) half.add(node)
    else wide.push({ node: node.name, op: node.opType, reason })
  }
  for (const node of islands(graph, half, isFloat)) half.delete(node)
  return { half, wide }

  async function whyWide(node: NodeProto): Promise<string | undefined> {
    if (blocked.includes(node.opType) || (node.name !== '' && blocked.includes(node.name))) return 'as asked for'
    if (!takesHalf(node)) return 'the operator is not known to take float16'
    if (graph.captures(node).size > 0) return 'it holds a graph'
    const open = node.input.find((name, i) => name !== '' && isTypedInput(node, i) && types.get(name) === undefined)
    if (open !== undefined) return `the type of '${open}' is not known`
    const large = [...node.input, ...node.output].find((name) => overflowing.has(name))
    if (large !== undefined) return `'${large}' ${ranges?.has(large) === true ? 'was measured' : 'may grow'} beyond float16`
    for (const [i, name] of node.input.entries()) {
      const constant = graph.constant(name)
      if (constant === undefined || !isFloat(name) || !isTypedInput(node, i)) continue
      const reason = await whyConstant(name, constant)
      if (reason !== undefined) return reason
    }
    return undefined
  }

  async function whyConstant(name: string, constant: TensorProto): Promise<string | undefined> {
    const values = hostToFloat32(await load(constant))
    let [largest, smallest] = [0, Infinity]
    for (const value of values) {
      const size = Math.abs(value)
      if (size > largest && Number.isFinite(size)) largest = size
      if (size > 0 && size < smallest) smallest = size
    }
    if (largest > LARGEST_HALF) return `the constant '${name}' has ${largest.toPrecision(3)}, beyond float16`
    return values.length <= FEW && smallest < UNDERFLOW ? `the constant '${name}' has ${smallest.toPrecision(3)}, which float16 makes 0` : undefined
  }
}

/** Chosen operators without weights, all of whose float neighbours stay in float32. */
function islands(graph: Graph, half: ReadonlySet<NodeProto>, isFloat: (name: string) => boolean): NodeProto[] {
  return [...half].filter((node) => {
    if (node.input.some((name) => isFloat(name) && graph.constant(name) !== undefined)) return false
    const before = node.input.filter(isFloat).map((name) => graph.producer(name))
    const after = node.output.filter(isFloat).flatMap((name) => graph.consumers(name))
    return [...before, ...after].every((other) => other === undefined || !half.has(other))
  })
}
