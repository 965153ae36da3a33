import { intsAttribute, isExternal, type NodeProto, tensorShape, tensorToHost } from '@lowbit/formats'
import { type Graph, isMicrosoftOp, isOp } from '../graph/index.js'
import { operandName, type SiteRecord, siteNode } from '../sites/index.js'

/** A constant vector over the channels: an input of a node. */
export interface VectorRef {
  readonly node: NodeProto
  readonly input: number
}

/** Every place that has to change when a residual stream is turned. */
export interface StreamRecord {
  readonly id: string
  readonly channels: number
  readonly readers: readonly { readonly record: SiteRecord; readonly gain?: VectorRef }[]
  readonly writers: readonly SiteRecord[]
  /** Gains of norms: they go into the readers and become 1. */
  readonly gains: readonly VectorRef[]
  /** Biases on the stream: they turn with it. */
  readonly biases: readonly VectorRef[]
  readonly reason?: string
}

/**
 * Finds the tensors that norms read and sites add to, and follows each over all additions. What is found can be turned as a whole
 * if nothing touches it but additions, RMS norms and sites (Ashkboos et al. 2024, section 4.1); else it carries the reason.
 */
export function findStreams(graph: Graph, records: readonly SiteRecord[]): readonly StreamRecord[] {
  const streams: StreamRecord[] = []
  const seen = new Set<string>()
  for (const node of graph.nodes()) {
    const tensor = normInput(graph, node)
    if (tensor === undefined || seen.has(tensor)) continue
    const walk = new Walk(graph, records)
    const stream = walk.from(tensor)
    for (const name of walk.visited) seen.add(name)
    // A norm inside a block, such as that of a head's queries, is no stream: nothing is written to it by sites that others read.
    if (stream.readers.length > 0 && stream.writers.length > 1) streams.push(stream)
  }
  return streams
}

/** The tensor that a norm reads, for nodes at which norms begin. */
function normInput(graph: Graph, node: NodeProto): string | undefined {
  if (isRmsNorm(node) || isMeanNorm(node)) return node.input[0]
  if (isOp(node, 'ReduceMean')) {
    return squared(graph, node.input[0] ?? '')
  }
  return undefined
}

const isRmsNorm = (node: NodeProto): boolean => isOp(node, 'RMSNormalization') || node.opType === 'SimplifiedLayerNormalization' || isMicrosoftOp(node, 'SkipSimplifiedLayerNormalization')
const isMeanNorm = (node: NodeProto): boolean => isOp(node, 'LayerNormalization') || isMicrosoftOp(node, 'SkipLayerNormalization')

/** x where a tensor is `x²`. */
function squared(graph: Graph, name: string): string | undefined {
  const node = graph.producer(name)
  if (node === undefined) return undefined
  if (isOp(node, 'Mul') && node.input[0] === node.input[1]) return node.input[0]
  return isOp(node, 'Pow') && scalarOf(graph, node.input[1] ?? '') === 2 ? node.input[0] : undefined
}

/** The value of a constant with one element. */
function scalarOf(graph: Graph, name: string): number | undefined {
  const stored = graph.constant(name)
  if (stored === undefined || tensorShape(stored).reduce((a, b) => a * b, 1) !== 1 || isExternal(stored)) return undefined
  const { dtype, data } = tensorToHost(stored)
  // What a float16 scalar is does not matter where any factor will do; for exponents it does, and those are float32.
  return dtype === 'float16' ? 1 : Number(data[0])
}

const CARRIES = ['Identity', 'Dropout', 'Cast']

/** One walk over a stream. It stops at the first thing that a rotation cannot pass. */
class Walk {
  readonly visited = new Set<string>()
  readonly #graph: Graph
  readonly #records: readonly SiteRecord[]
  readonly #readers = new Map<SiteRecord, VectorRef | undefined>()
  readonly #writers = new Set<SiteRecord>()
  readonly #gains: VectorRef[] = []
  readonly #biases: VectorRef[] = []
  readonly #waiting: string[] = []
  #channels = 0
  #reason: string | undefined

  constructor(graph: Graph, records: readonly SiteRecord[]) {
    this.#graph = graph
    this.#records = records
  }

  from(tensor: string): StreamRecord {
    this.#waiting.push(tensor)
    for (let name = this.#waiting.pop(); name !== undefined; name = this.#waiting.pop()) {
      if (this.visited.has(name)) continue
      this.visited.add(name)
      this.#producer(name)
      this.#consumers(name)
    }
    for (const { node, input } of [...this.#gains, ...this.#biases]) this.#expectVector(node, input)
    this.#checkTies()
    return {
      // Fold groups have the names of tensors: this must not be one of them.
      id: `residual:${tensor}`,
      channels: this.#channels,
      readers: [...this.#readers].map(([record, gain]) => ({ record, ...(gain === undefined ? {} : { gain }) })),
      writers: [...this.#writers],
      gains: this.#gains,
      biases: this.#biases,
      ...(this.#reason === undefined ? {} : { reason: this.#reason }),
    }
  }

  #refuse(reason: string): void {
    this.#reason ??= reason
  }

  #count(channels: number, thing: string): void {
    if (this.#channels === 0) this.#channels = channels
    else if (this.#channels !== channels) this.#refuse(`'${thing}' has ${channels} channels, others of the stream ${this.#channels}`)
  }

  /** What makes a tensor of the stream: a site, or a sum whose terms belong to the stream too. */
  #producer(name: string): void {
    const graph = this.#graph
    const node = graph.producer(name)
    if (node === undefined) return this.#refuse(`'${name}' is ${graph.constant(name) === undefined ? 'an input of the model' : 'a constant'}`)
    const record = this.#records.find((r) => r.anchor === name)
    if (record !== undefined) return this.#writer(record, node)
    if (isOp(node, 'Add')) return this.#sum(node, name)
    if (isMicrosoftOp(node, 'SkipSimplifiedLayerNormalization') && name !== node.output[0]) {
      this.#waiting.push(...node.input.slice(0, 2))
      return
    }
    // Of a normalized tensor the walk knows already where it comes from.
    if (this.#isNormalized(node)) return
    if (isOp(node, 'Sub')) return this.#subtraction(node)
    const through = this.#passes(node)
    if (through !== undefined) this.#waiting.push(node.input[through] ?? '')
    else if (!isRmsNorm(node)) this.#refuse(`'${node.name || node.opType}' (${node.opType}) writes to the stream`)
  }

  #writer(record: SiteRecord, node: NodeProto): void {
    const { site, matrix, op } = record
    if (op === 'Gather') this.#count(matrix.columns, site.id)
    else if (site.kind === 'linear') this.#count(matrix.rows, site.id)
    else return this.#refuse(`'${site.id}' is a convolution`)
    this.#writers.add(record)
    if (op === 'Gemm' && (node.input[2] ?? '') !== '') this.#bias(node, 2)
  }

  #sum(node: NodeProto, output: string): void {
    for (const [input, name] of node.input.entries()) {
      if (this.#graph.constant(name) === undefined) this.#waiting.push(name)
      else this.#bias(node, input)
    }
    this.#waiting.push(output)
  }

  /** A sum is met from above and from below: what it adds turns once. */
  #bias(node: NodeProto, input: number): void {
    if (!this.#biases.some((b) => b.node === node && b.input === input)) this.#biases.push({ node, input })
  }

  #consumers(name: string): void {
    const graph = this.#graph
    if (graph.isOutput(name)) this.#refuse(`'${name}' is an output of the model`)
    for (const node of graph.consumers(name)) {
      if (graph.captures(node).has(name)) return this.#refuse(`a subgraph of '${node.name || node.opType}' reads '${name}'`)
      const record = this.#readerOf(node, name)
      if (record !== undefined) this.#reader(record, undefined)
      else if (isOp(node, 'Add')) this.#sum(node, node.output[0] ?? '')
      else if (isRmsNorm(node)) this.#norm(node, name)
      else if (isMeanNorm(node)) this.#meanNorm(node)
      else if (isOp(node, 'ReduceMean') || isOp(node, 'Sub')) this.#subtraction(node)
      else if (this.#isSquare(node) || isOp(node, 'Shape')) continue
      else if (isOp(node, 'Mul') && node.input.some((i) => i !== name && this.#isVector(i))) this.#gain(node, node.input[0] === name ? 1 : 0)
      else if (this.#isNormalized(node) || this.#passes(node) !== undefined) this.#waiting.push(node.output[0] ?? '')
      else this.#refuse(`'${node.name || node.opType}' (${node.opType}) reads the stream`)
    }
  }

  #subtraction(node: NodeProto): void {
    this.#refuse(`'${node.name || node.opType}' looks like part of a layer norm: it takes the mean off, which no rotation commutes with; only RMS norms do`)
    if (isOp(node, 'Sub')) this.#waiting.push(node.input[0] ?? '', node.output[0] ?? '')
  }

  /** The walk goes on behind it, so that all of a stream is one stream, with one reason. */
  #meanNorm(node: NodeProto): void {
    this.#refuse(`'${node.name || node.opType}' is a layer norm: it subtracts the mean, which no rotation commutes with; only RMS norms do`)
    this.#gain(node, isOp(node, 'LayerNormalization') ? 1 : 2)
  }

  #norm(node: NodeProto, name: string): void {
    if ((intAxis(node) ?? -1) !== -1) return this.#refuse(`'${node.name || node.opType}' normalizes along another axis than the last`)
    const skips = isMicrosoftOp(node, 'SkipSimplifiedLayerNormalization')
    if (node.input.indexOf(name) >= (skips ? 2 : 1)) return this.#refuse(`'${node.name || node.opType}' takes the stream for its gain`)
    if (skips) {
      this.#waiting.push(...node.input.slice(0, 2))
      if ((node.input[3] ?? '') !== '') this.#bias(node, 3)
      if ((node.output[3] ?? '') !== '') this.#waiting.push(node.output[3] ?? '')
    }
    this.#gain(node, skips ? 2 : 1)
  }

  /** A gain ends the stream: all that reads what comes behind it must be sites, which take it in. */
  #gain(node: NodeProto, input: number): void {
    if (this.#gains.some((g) => g.node === node)) return
    const gain = { node, input }
    this.#gains.push(gain)
    const behind = [node.output[0] ?? '']
    for (let name = behind.pop(); name !== undefined; name = behind.pop()) {
      if (this.#graph.isOutput(name)) this.#refuse(`'${name}' is an output of the model`)
      for (const reader of this.#graph.consumers(name)) {
        const record = this.#graph.captures(reader).has(name) ? undefined : this.#readerOf(reader, name)
        if (record !== undefined) this.#reader(record, gain)
        else if (CARRIES.some((op) => isOp(reader, op))) behind.push(reader.output[0] ?? '')
        else if (!isOp(reader, 'Shape')) this.#refuse(`'${reader.name || reader.opType}' (${reader.opType}) reads the output of a norm and takes no rotation`)
      }
    }
  }

  #reader(record: SiteRecord, gain: VectorRef | undefined): void {
    if (record.site.kind !== 'linear') return this.#refuse(`'${record.site.id}' is a convolution`)
    this.#count(record.matrix.columns, record.site.id)
    this.#readers.set(record, gain)
  }

  #readerOf(node: NodeProto, name: string): SiteRecord | undefined {
    return this.#records.find((r) => r.op !== 'Gather' && siteNode(this.#graph, r) === node && operandName(this.#graph, r, 'data') === name)
  }

  /** The operand of an operator that lets a rotation pass: factors of all channels, copies, other float types. */
  #passes(node: NodeProto): number | undefined {
    if (CARRIES.some((op) => isOp(node, op))) return 0
    if (isOp(node, 'Mul')) {
      const factor = node.input.findIndex((i) => scalarOf(this.#graph, i) !== undefined)
      return factor < 0 ? undefined : 1 - factor
    }
    return isOp(node, 'Div') && scalarOf(this.#graph, node.input[1] ?? '') !== undefined ? 0 : undefined
  }

  /** `x²` of which only the mean over the channels is used: a rotation does not change it. */
  #isSquare(node: NodeProto): boolean {
    const output = node.output[0] ?? ''
    return squared(this.#graph, output) !== undefined && this.#graph.consumers(output).every((n) => isOp(n, 'ReduceMean') && meansLastAxis(this.#graph, n))
  }

  /** `x / sqrt(mean(x²) + ε)` in any of its spellings, without the gain. */
  #isNormalized(node: NodeProto): boolean {
    if (isOp(node, 'Div')) return this.#isRoot(node.input[1] ?? '', 4)
    return isOp(node, 'Mul') && node.input.some((i) => this.#isRoot(i, 4))
  }

  /** A function of the mean square of channels and of scalars alone. */
  #isRoot(name: string, depth: number): boolean {
    const node = this.#graph.producer(name)
    if (node === undefined || depth < 0) return false
    if (isOp(node, 'ReduceMean')) return squared(this.#graph, node.input[0] ?? '') !== undefined && meansLastAxis(this.#graph, node)
    const rest = node.input.filter((i) => scalarOf(this.#graph, i) === undefined)
    return ['Sqrt', 'Reciprocal', 'Div', 'Add', 'Pow'].some((op) => isOp(node, op)) && rest.length === 1 && this.#isRoot(rest[0], depth - 1)
  }

  #isVector(name: string): boolean {
    const stored = this.#graph.constant(name)
    return stored !== undefined && tensorShape(stored).reduce((a, b) => a * b, 1) > 1
  }

  #expectVector(node: NodeProto, input: number): void {
    const stored = this.#graph.constant(node.input[input] ?? '')
    const shape = stored === undefined ? [] : tensorShape(stored)
    if (shape.at(-1) !== this.#channels || shape.reduce((a, b) => a * b, 1) !== this.#channels) {
      this.#refuse(`input ${input} of '${node.name || node.opType}' is not a constant with one value a channel`)
    }
  }

  /** Sites with one weight must all turn the same columns, by the same gain, and none its rows. */
  #checkTies(): void {
    const ownerOf = ({ site }: SiteRecord): string => site.tiedTo ?? site.id
    for (const record of new Set([...this.#readers.keys(), ...this.#writers])) {
      const family = this.#records.filter((r) => ownerOf(r) === ownerOf(record))
      if (family.length === 1) continue
      const name = `'${record.site.id}' shares its weight with '${family.find((r) => r !== record)?.site.id ?? ''}'`
      const gain = this.#readers.get(record)
      for (const other of family) {
        if (this.#readers.has(other) ? this.#readers.get(other) !== gain : !(this.#writers.has(other) && other.op === 'Gather' && gain === undefined)) {
          this.#refuse(`${name}, which would have to turn in another way${this.#readers.has(other) || other.op === 'Gather' ? ': the gain of a norm stands before one of them only' : ''}; untie them first`)
        }
        if (this.#writers.has(other) && other.op !== 'Gather') this.#refuse(`${name}, and one of them writes to the stream`)
      }
    }
  }
}

/** `axis` of a norm; undefined where it has the default, the last. */
function intAxis(node: NodeProto): number | undefined {
  const axis = node.attribute.find((a) => a.name === 'axis')
  return axis === undefined ? undefined : Number(axis.i)
}

function meansLastAxis(graph: Graph, node: NodeProto): boolean {
  const stored = graph.constant(node.input[1] ?? '')
  const axes = intsAttribute(node, 'axes') ?? (stored === undefined || isExternal(stored) ? undefined : Array.from(tensorToHost(stored).data, Number))
  const keeps = node.attribute.find((a) => a.name === 'keepdims')
  return axes?.length === 1 && axes[0] === -1 && (keeps === undefined || Number(keeps.i) === 1)
}
