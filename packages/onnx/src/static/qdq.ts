import { type ActivationParams, INTEGER_CODES, LowbitError, quantizeBias, type QTensor, weightScalesForInt32Bias } from '@lowbit/core'
import { floatAttribute, node as makeNode, type NodeProto, tensorToHost } from '@lowbit/formats'
import { addConstant } from '../emit/constants.js'
import { dequantizeWeight } from '../emit/dequantize-weight.js'
import { type Graph, isOp, MICROSOFT } from '../graph/index.js'
import { operandName, siteNode, type SiteRecord } from '../sites/site-record.js'
import { activationLimits } from './activation-limits.js'
import type { StaticDecisions, StaticNotes, StaticOptions } from './decisions.js'
import { activationConstants, unsignedActivations } from './activation-constants.js'
import { activationInputs, hasIntegerProduct, staticRole, writesIntegersOnly } from './operators.js'
import { isWideWeight, storeWeight, type WeightStorage } from './weight-codes.js'

/**
 * Writes a static quantization into a graph as QuantizeLinear and DequantizeLinear pairs around float operators, in the places
 * where ONNX Runtime fuses them into integer operators.
 *
 * A tensor that an integer kernel writes is quantized for all its readers; one that a float operator writes is quantized only
 * for the readers that want integers.
 * @param graph - opset 13 or newer; changed in place
 * @returns notes on what could not be done as told
 * @throws LOWBIT_UNSUPPORTED below opset 13: DequantizeLinear has no axis there
 */
export function emitQdq(graph: Graph, decisions: StaticDecisions, options: StaticOptions = {}): StaticNotes {
  const opset = graph.opset() ?? 0
  if (opset < 13) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'model', found: `opset ${opset}`, expected: '13 or newer', fix: 'prepare the model first: that upgrades its opset' })
  }
  return new QdqEmitter(graph, decisions, options).run()
}

class QdqEmitter {
  readonly #graph: Graph
  readonly #decisions: StaticDecisions
  readonly #unsigned: NonNullable<StaticOptions['weightStorage']>
  readonly #floatWeights: NonNullable<StaticOptions['floatWeights']>
  readonly #constants: ReturnType<typeof activationConstants>
  /** Products whose weight and input are integers, and that input. */
  readonly #products = new Map<NodeProto, string>()
  /** Points that are quantized where they are written, for every reader. */
  readonly #atSource = new Set<string>()
  readonly #notes: StaticNotes = []
  readonly #weightOutputs = new Map<string, string>()

  constructor(graph: Graph, decisions: StaticDecisions, options: StaticOptions) {
    this.#graph = graph
    this.#unsigned = options.weightStorage ?? 'uint8'
    this.#decisions = this.#unsigned === 'uint8' ? { ...decisions, activations: unsignedActivations(decisions.activations) } : decisions
    this.#floatWeights = options.floatWeights ?? new Set()
    this.#constants = activationConstants(graph)
  }

  run(): StaticNotes {
    const { sites, weights, activations } = this.#decisions
    for (const record of sites) {
      const q = weights.get(record.site.id)
      if (q === undefined || !hasIntegerProduct(record.op)) continue
      const node = siteNode(this.#graph, record)
      if (isWideWeight(q)) {
        this.#expandWeight(record, node, q)
        continue
      }
      const input = operandName(this.#graph, record, 'data')
      if (activations.has(input)) this.#products.set(node, input)
      this.#quantizeWeight(record, node, q)
    }
    for (const node of this.#graph.sort()) {
      for (const output of node.output) {
        const params = activations.get(output)
        if (params !== undefined) this.#quantizePoint(output, node, params)
      }
    }
    for (const input of this.#graph.proto.input) {
      const params = activations.get(input.name)
      if (params !== undefined) this.#quantizeForReaders(input.name, params)
    }
    if ([...activations.values()].some((p) => this.#domain(p) === MICROSOFT)) this.#graph.setOpset(MICROSOFT, 1)
    this.#graph.removeDead()
    return this.#notes
  }

  #quantizeWeight(record: SiteRecord, node: NodeProto, q: QTensor): void {
    const graph = this.#graph
    const { site } = record
    const input = this.#decisions.activations.get(operandName(graph, record, 'data'))
    const bias = input === undefined ? undefined : this.#biasOf(node)
    let scales = q.params.scales
    if (bias !== undefined && input !== undefined) {
      const raised = weightScalesForInt32Bias(bias, input.scale, scales)
      if (raised.some((s, i) => s !== scales[i])) {
        scales = raised
        this.#notes.push(`'${site.id}': weight scales raised so that the bias fits int32`)
      }
    }
    // Tied weights are stored once; a raised scale makes another weight of it.
    const storage = this.#unsigned
    const key = `${site.tiedTo ?? site.id} ${record.matrix.orientation} ${storage} ${scales === q.params.scales ? '' : site.id}`
    let dequantized = this.#weightOutputs.get(key)
    if (dequantized === undefined) {
      dequantized = this.#addWeight(record, q, scales, storage)
      this.#weightOutputs.set(key, dequantized)
    }
    this.#setWeight(record, node, dequantized)
    if (bias !== undefined && input !== undefined) this.#quantizeBias(node, bias, input.scale, scales)
  }

  #addWeight(record: SiteRecord, q: QTensor, scales: Float32Array, storage: WeightStorage): string {
    const graph = this.#graph
    const stored = storeWeight(record, q, storage, scales)
    const grid = stored.axis === undefined ? [] : [scales.length]
    const zeros = storage === 'uint8' ? new Uint8Array(scales.length).fill(stored.zeroPoint) : new Int8Array(scales.length)
    const { name } = record.site.weight
    const inputs = [
      addConstant(graph, `${name}_q`, { dtype: storage, shape: stored.shape, data: stored.codes }),
      addConstant(graph, `${name}_scale`, { dtype: 'float32', shape: grid, data: new Float32Array(scales) }),
      addConstant(graph, `${name}_zero_point`, { dtype: storage, shape: grid, data: zeros }),
    ]
    const output = graph.freshName(`${name}_dq`)
    graph.addNode(makeNode('DequantizeLinear', inputs, [output], stored.axis === undefined ? {} : { axis: stored.axis }))
    return output
  }

  /** 16-bit weights have no integer kernel: the product is one of floats. */
  #expandWeight(record: SiteRecord, node: NodeProto, q: QTensor): void {
    const key = `${record.site.tiedTo ?? record.site.id} ${record.matrix.orientation}`
    const dequantized = this.#weightOutputs.get(key) ?? dequantizeWeight(this.#graph, record, q)
    this.#weightOutputs.set(key, dequantized)
    this.#setWeight(record, node, dequantized)
  }

  #setWeight(record: SiteRecord, node: NodeProto, dequantized: string): void {
    if (!this.#floatWeights.has(record.site.tiedTo ?? record.site.id)) this.#graph.setInput(node, record.weightInput, dequantized)
  }

  #biasOf(node: NodeProto): Float32Array | undefined {
    if (!writesIntegersOnly(node) && !isOp(node, 'Gemm')) return undefined
    const constant = this.#graph.constant(node.input[2] ?? '')
    if (constant === undefined) return undefined
    const { dtype, data, shape } = tensorToHost(constant)
    return dtype === 'float32' && shape.length === 1 && data instanceof Float32Array ? data : undefined
  }

  #quantizeBias(node: NodeProto, bias: Float32Array, inputScale: number, weightScales: Float32Array): void {
    const graph = this.#graph
    const beta = isOp(node, 'Gemm') ? floatAttribute(node, 'beta', 1) : 1
    const { codes, scales } = quantizeBias(bias, inputScale, weightScales, beta)
    const name = node.input[2] ?? 'bias'
    const perChannel = scales.length > 1
    const grid = perChannel ? [scales.length] : []
    const dequantized = graph.freshName(`${name}_dq`)
    graph.addNode(
      makeNode(
        'DequantizeLinear',
        [
          addConstant(graph, `${name}_q`, { dtype: 'int32', shape: [codes.length], data: codes }),
          addConstant(graph, `${name}_scale`, { dtype: 'float32', shape: grid, data: scales }),
        ],
        [dequantized],
        perChannel ? { axis: 0 } : {},
      ),
    )
    graph.setInput(node, 2, dequantized)
  }

  #quantizePoint(name: string, producer: NodeProto, params: ActivationParams): void {
    if (!this.#isIntegerKernel(producer, params)) {
      this.#quantizeForReaders(name, params)
      return
    }
    const graph = this.#graph
    this.#dropActivation(producer, params)
    const writer = graph.producer(name)
    if (writer === undefined) return
    const raw = graph.detachOutput(writer, writer.output.indexOf(name))
    this.#atSource.add(name)
    this.#addPair(raw, name, name, params)
  }

  /** Whether ONNX Runtime will write this point as integers: then no float value of it exists. */
  #isIntegerKernel(producer: NodeProto, params: ActivationParams): boolean {
    const graph = this.#graph
    const activations = this.#decisions.activations
    const core = (isOp(producer, 'Relu') || isOp(producer, 'Clip')) && graph.consumers(producer.input[0] ?? '').length === 1 ? (graph.producer(producer.input[0] ?? '') ?? producer) : producer
    if (this.#products.has(core)) {
      if (writesIntegersOnly(core)) return true
      return graph.consumers(core.output[0] ?? '').every((reader) => reader !== core && this.#products.has(reader))
    }
    const inputs = activationInputs(core).map((i) => core.input[i] ?? '')
    const role = staticRole(graph, core)
    const sources = inputs.map((name) => this.#sourceOf(name))
    // Integer concatenation rescales its parts; the other movements cannot.
    if (role === 'movement') return sources.every((name) => name !== undefined && (isOp(core, 'Concat') || sameParams(activations.get(name), params)))
    return (role === 'arithmetic' || role === 'product') && sources.every((name) => name !== undefined && this.#atSource.has(name))
  }

  /** The point behind an input, which may already have been pointed at its dequantized form. */
  #sourceOf(name: string): string | undefined {
    if (this.#decisions.activations.has(name)) return name
    return this.#readerNames.get(name)
  }

  readonly #readerNames = new Map<string, string>()

  /** Takes out the Relu or Clip before a quantized tensor where the codes clip at least as tightly. */
  #dropActivation(producer: NodeProto, params: ActivationParams): void {
    const graph = this.#graph
    const inner = producer.input[0] ?? ''
    const before = graph.producer(inner)
    if (before === undefined || graph.consumers(inner).length !== 1 || graph.isOutput(inner)) return
    const { min, max } = INTEGER_CODES[params.dtype]
    const low = (min - params.zeroPoint) * params.scale
    const high = (max - params.zeroPoint) * params.scale
    const limits = activationLimits(graph, producer)
    // Half a step: codes beyond the limit would round to the limit's own code.
    if (limits === undefined || low < limits.low - params.scale / 2 || high > limits.high + params.scale / 2) return
    const output = producer.output[0] ?? ''
    graph.removeNode(producer)
    const renamed = before
    const index = renamed.output.indexOf(inner)
    graph.removeNode(before)
    renamed.output[index] = output
    graph.addNode(renamed)
  }

  #quantizeForReaders(name: string, params: ActivationParams): void {
    const graph = this.#graph
    const wanting = graph.consumers(name).filter((reader) => this.#wantsIntegers(reader, name))
    if (wanting.length === 0) return
    const dequantized = graph.freshName(`${name}_dq`)
    this.#addPair(name, dequantized, name, params)
    this.#readerNames.set(dequantized, name)
    for (const reader of wanting) {
      reader.input.forEach((input, index) => {
        if (input === name) graph.setInput(reader, index, dequantized)
      })
    }
  }

  #wantsIntegers(reader: NodeProto, name: string): boolean {
    const input = this.#products.get(reader)
    if (input !== undefined) return input === name
    if (!activationInputs(reader).some((i) => reader.input[i] === name)) return false
    // Logits are as sensitive as masks, and ONNX Runtime's integer Softmax gives wrong results for some output scales.
    if (isOp(reader, 'Softmax') || isOp(reader, 'LogSoftmax')) return false
    const role = staticRole(this.#graph, reader)
    if (role === 'movement') return reader.output.some((output) => this.#decisions.activations.has(output))
    return (role === 'arithmetic' || role === 'product') && reader.output.some((output) => this.#decisions.activations.has(output))
  }

  #addPair(from: string, to: string, base: string, params: ActivationParams): void {
    const graph = this.#graph
    const [scale, zero] = this.#constants(params, base)
    const domain = this.#domain(params)
    const codes = graph.freshName(`${base}_q`)
    graph.addNode(makeNode('QuantizeLinear', [from, scale, zero], [codes], {}, domain), makeNode('DequantizeLinear', [codes, scale, zero], [to], {}, domain))
  }

  /** 16-bit activations came to ONNX's own operators with opset 21. */
  #domain(params: ActivationParams): string {
    return (this.#graph.opset() ?? 0) < 21 && (params.dtype === 'int16' || params.dtype === 'uint16') ? MICROSOFT : ''
  }
}

function sameParams(a: ActivationParams | undefined, b: ActivationParams): boolean {
  return a !== undefined && a.dtype === b.dtype && a.scale === b.scale && a.zeroPoint === b.zeroPoint
}
