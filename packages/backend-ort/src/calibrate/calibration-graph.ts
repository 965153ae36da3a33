import { type Batch, type HostTensor, LowbitError, type TensorRef } from '@lowbit/core'
import { type AttributeValue, DataType, hostToTensor, intsAttribute, node as makeNode, tensorsOf, valueInfo } from '@lowbit/formats'
import { type Graph, isOp, operandName, siteNode, type SiteRecord } from '@lowbit/onnx'

/** A prime, so that the starts it gives spread over any step. */
const TURN = 7919n

/**
 * A copy of a model with statistics computed inside: each method adds nodes and gives the name of their result. Asking twice
 * gives the same nodes.
 */
export class CalibrationGraph {
  readonly graph: Graph
  readonly #info: ReadonlyMap<string, TensorRef>
  readonly #made = new Map<string, string>()
  readonly #isPlain: boolean
  #turn: string | undefined

  /** @param graph - becomes part of this one; pass a clone */
  constructor(graph: Graph, info: ReadonlyMap<string, TensorRef>) {
    this.graph = graph
    this.#info = info
    this.#isPlain = holdsFloat32Alone(graph)
  }

  /** Name of an int64 `[1]` input that every run feeds with another number; see {@link feed}. */
  turn(): string {
    if (this.#turn === undefined) {
      this.#turn = this.graph.freshName('lowbit_turn')
      this.graph.proto.input.push(valueInfo(this.#turn, 'int64', [1]))
    }
    return this.#turn
  }

  /** A batch with what else the graph wants in the run of this index. */
  feed(batch: Batch, index: number): Batch {
    return this.#turn === undefined ? batch : { ...batch, [this.#turn]: { dtype: 'int64', shape: [1], data: BigInt64Array.of(BigInt(index) * TURN) } }
  }

  /** Rank of a tensor. @throws LOWBIT_UNSUPPORTED if the runtime could not infer it */
  rank(name: string): number {
    const shape = this.#info.get(name)?.shape
    if (shape === undefined) {
      throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `activation '${name}'`, found: 'a tensor of unknown rank', expected: 'a model whose shapes the runtime can infer', fix: 'export it with fixed ranks, or exclude this site' })
    }
    return shape.length
  }

  /**
   * A tensor in float32. Sums and products of float16 values lose digits or overflow: every statistic is taken of float32 values, and
   * half a model in float16 gives the figures of the same model in float32.
   */
  floats(name: string): string {
    return this.#isPlain ? name : this.apply('Cast', [name], { to: DataType.FLOAT })
  }

  /** Adds one node and gives the name of its output. */
  apply(op: string, inputs: readonly string[], attributes: Readonly<Record<string, AttributeValue>> = {}): string {
    const key = JSON.stringify([op, inputs, attributes], (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))
    const before = this.#made.get(key)
    if (before !== undefined) return before
    const output = this.graph.freshName(`lowbit_${op}`)
    this.graph.addNode(makeNode(op, inputs, [output], attributes))
    this.#made.set(key, output)
    return output
  }

  constant(value: HostTensor): string {
    const key = `${value.dtype} [${value.shape.join()}] ${value.data.length < 64 ? value.data.join() : Math.random()}`
    const before = this.#made.get(key)
    if (before !== undefined) return before
    const name = this.graph.addInitializer(hostToTensor(this.graph.freshName('lowbit_constant'), value))
    this.#made.set(key, name)
    return name
  }

  ints(...values: readonly number[]): string {
    return this.constant({ dtype: 'int64', shape: [values.length], data: BigInt64Array.from(values, BigInt) })
  }

  /** A reduction over axes (all of them if none are given), without keeping dims. Axes moved from attribute to input over the years. */
  reduce(op: 'ReduceMin' | 'ReduceMax' | 'ReduceSum', input: string, axes?: readonly number[]): string {
    if (axes === undefined) return this.apply(op, [input], { keepdims: 0 })
    if (axes.length === 0) return input
    const asInput = (this.graph.opset() ?? 0) >= (op === 'ReduceSum' ? 13 : 18)
    return asInput ? this.apply(op, [input, this.ints(...axes)], { keepdims: 0 }) : this.apply(op, [input], { keepdims: 0, axes })
  }

  /**
   * The input of a site in the columns of its weight: `[groups, rows, K]`, as a node output.
   * @param input - another tensor to see in the same way
   */
  columns(record: SiteRecord, input = operandName(this.graph, record, 'data')): string {
    const { site } = record
    const { groups, columns } = record.matrix
    const values = this.floats(input)
    if (site.kind === 'conv') {
      const unfolded = this.#unfold(record, values)
      // Of the weight: the runtime does not infer the rank of every activation, and gives such a one as rank 0.
      const rank = record.matrix.shape.length
      const swapped = this.apply('Transpose', [unfolded], { perm: [1, 0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2)] })
      const flat = this.apply('Reshape', [swapped, this.ints(groups, columns, -1)])
      return this.apply('Transpose', [flat], { perm: [0, 2, 1] })
    }
    return this.apply('Reshape', [values, this.ints(1, -1, columns)])
  }

  /** Every patch a convolution multiplies, as channels: a depthwise convolution with kernels of one 1. */
  #unfold(record: SiteRecord, input: string): string {
    const node = siteNode(this.graph, record)
    const { columns, columnsPerChannel: kernel, groups, shape } = record.matrix
    const size = shape.slice(2)
    const carried: Record<string, AttributeValue> = {}
    for (const attribute of node.attribute) {
      if (['pads', 'strides', 'dilations', 'output_padding', 'output_shape'].includes(attribute.name)) carried[attribute.name] = intsAttribute(node, attribute.name) ?? []
      if (attribute.name === 'auto_pad') carried['auto_pad'] = new TextDecoder().decode(attribute.s)
    }
    const moves = kernel > 1 || Object.entries(carried).some(([name, value]) => Array.isArray(value) && value.some((v) => Number(v) !== (name === 'pads' || name === 'output_padding' ? 0 : 1)))
    if (!moves) return input
    const channels = (columns / kernel) * groups
    const data = new Float32Array(channels * kernel * kernel)
    for (let c = 0; c < channels; c++) for (let k = 0; k < kernel; k++) data[(c * kernel + k) * kernel + k] = 1
    const transposed = isOp(node, 'ConvTranspose')
    const weight = this.constant({ dtype: 'float32', shape: transposed ? [channels, kernel, ...size] : [channels * kernel, 1, ...size], data })
    return this.apply(node.opType, [input, weight], { ...carried, group: channels })
  }
}

const OTHER_FLOATS: ReadonlySet<number> = new Set([DataType.FLOAT16, DataType.BFLOAT16, DataType.DOUBLE])

/** False where any tensor may hold floats of another type. */
function holdsFloat32Alone(graph: Graph): boolean {
  const isOther = (type: number | undefined): boolean => type !== undefined && OTHER_FLOATS.has(type)
  if (graph.proto.input.some(({ type }) => type?.value.case === 'tensorType' && isOther(type.value.value.elemType))) return false
  for (const tensor of tensorsOf(graph.toModel())) if (isOther(tensor.dataType)) return false
  return !graph.nodes().some((node) => node.attribute.some((a) => (a.name === 'to' || a.name === 'dtype') && isOther(Number(a.i))))
}
