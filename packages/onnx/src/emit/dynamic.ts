import { type Acceptance, type Json, LowbitError, type QTensor, type Scheme, zeroPointsOf } from '@lowbit/core'
import { node, type NodeProto } from '@lowbit/formats'
import type { Graph } from '../graph/index.js'
import { upgradeOpset } from '../prepare/upgrade-opset.js'
import { fromRows, pointWeightAt, type SiteRecord, siteNode } from '../sites/index.js'
import { neverAccepted, YES } from './accept.js'
import { eachWeight } from './by-weight.js'
import { addConstant, addFloats } from './constants.js'
import { dequantizeWeight } from './dequantize-weight.js'
import type { EmitJob, Emitter } from './emitter.js'
import { gatherCodes, isGatherable } from './gather-codes.js'
import { gemmAsMatMul } from './gemm-as-matmul.js'
import { plainGranularity, storedArray, storedType } from './stored-codes.js'

/** The first opset with DynamicQuantizeLinear is 11; from 13 on DequantizeLinear has axes as well. */
const OLDEST_OPSET = 13

/** Integer type of the weights in the file. */
type WeightStorage = 'uint8' | 'int8'

/**
 * Dynamic int8: each input is rounded to uint8 with a scale found at run time (DynamicQuantizeLinear), then MatMulInteger or
 * ConvInteger. Transposed convolutions and embeddings, which have no such operator, keep float arithmetic over int8 weights.
 *
 * Settings: `weightStorage` `uint8` (default): int8 codes moved up by 128, with zero point 128. On x86 without VNNI the
 * kernels for unsigned × signed add pairs of products in 16 bits and saturate; unsigned × unsigned does not. `int8` stores
 * them as they are: exact there only with `reduceRange`.
 */
export const dynamicEmitter: Emitter = {
  format: 'dynamic',
  accepts(record, scheme) {
    return neverAccepted(scheme) ?? dynamicAcceptance(record, scheme)
  },
  emit(job: EmitJob): void {
    const { graph } = job
    if (graph.opset() < 11) job.notes.push(`opset ${upgradeOpset(graph, OLDEST_OPSET)} upgraded to ${OLDEST_OPSET}: older ones have no DynamicQuantizeLinear`)
    const storage = storageOf(job.settings['weightStorage'])
    const activations = new DynamicActivations(graph)
    eachWeight(job, ({ owner, sites, q }) => {
      if (owner.op === 'Gather' && isGatherable(q)) gatherCodes(graph, sites, q)
      else if (owner.op === 'Gather' || owner.op === 'ConvTranspose' || owner.op === 'Stored') pointWeightAt(graph, sites, dequantizeWeight(graph, owner, q))
      else integerProducts(graph, sites, plainGranularity(q), storage, activations)
    }, true)
  },
}

function dynamicAcceptance(record: SiteRecord, scheme: Scheme): Acceptance {
  if (record.op === 'Gather' || record.op === 'ConvTranspose' || record.op === 'Stored') return YES
  const type = storedType(scheme)
  const perChannel: Scheme = { dtype: type === 'uint8' || type === 'uint4' ? 'uint8' : 'int8', granularity: { kind: 'channel', axis: 0 }, symmetric: scheme.symmetric, ...(scheme.reduceRange === undefined ? {} : { reduceRange: scheme.reduceRange }) }
  if (type === 'int16' || type === 'uint16') return { ok: false, reason: 'integer kernels take 8-bit weights', instead: perChannel }
  if (scheme.granularity.kind === 'group' && scheme.granularity.size < record.matrix.columns) return { ok: false, reason: 'integer kernels take one scale a tensor or channel', instead: perChannel }
  if (scheme.zeroPoint === 'float') return { ok: false, reason: 'integer kernels take whole zero points', instead: perChannel }
  if (record.op === 'Conv' && !scheme.symmetric && scheme.granularity.kind !== 'tensor') {
    return { ok: false, reason: 'ConvInteger takes one zero point for the whole weight', instead: { ...perChannel, dtype: 'int8', symmetric: true } }
  }
  return YES
}

/** DynamicQuantizeLinear of each tensor, once for all its readers. */
class DynamicActivations {
  readonly #graph: Graph
  readonly #known = new Map<string, { readonly codes: string; readonly scale: string; readonly zeroPoint: string }>()

  constructor(graph: Graph) {
    this.#graph = graph
  }

  quantize(input: string): { readonly codes: string; readonly scale: string; readonly zeroPoint: string } {
    const known = this.#known.get(input)
    if (known !== undefined) return known
    const fresh = (role: string): string => this.#graph.freshName(`${input}_${role}`)
    const made = { codes: fresh('quantized'), scale: fresh('scale'), zeroPoint: fresh('zero_point') }
    this.#graph.addNode(node('DynamicQuantizeLinear', [input], [made.codes, made.scale, made.zeroPoint], {}, '', fresh('DynamicQuantizeLinear')))
    this.#known.set(input, made)
    return made
  }
}

function integerProducts(graph: Graph, sites: readonly SiteRecord[], q: QTensor, storage: WeightStorage, activations: DynamicActivations): void {
  const [owner] = sites
  if (owner === undefined) return
  const { matrix } = owner
  const isSigned = storedType(q.scheme)?.startsWith('int') ?? true
  const offset = storage === 'uint8' ? (isSigned ? 128 : 0) : isSigned ? 0 : -128
  const array = (values: ArrayLike<number>): ReturnType<typeof storedArray> => storedArray(storage, Array.from(values, (v) => v + offset))
  const base = `${owner.site.weight.name}_q`
  const isConv = owner.op === 'Conv'
  const shape = isConv ? matrix.shape : [matrix.columns, matrix.rows]
  const moved = moveCodes(q, storage, offset)
  const codes = addConstant(graph, base, { dtype: storage, shape, data: isConv ? moved : fromRows(moved, { ...matrix, orientation: 'KN', shape }) })
  const perChannel = q.scheme.granularity.kind === 'channel'
  // [N, 1, 1] for images, [N] for matrices: broadcast over the output.
  const broadcast = !perChannel ? [] : isConv ? [matrix.rows, ...matrix.shape.slice(2).map(() => 1)] : [matrix.rows]
  const scales = addFloats(graph, `${base}_scale`, new Float32Array(q.params.scales), broadcast)
  const zeros = zeroPointsOf(q)
  const isSame = zeros.every((z) => z === zeros[0])
  const zeroPoint = zeros.every((z) => z + offset === 0) ? '' : addConstant(graph, `${base}_zero_point`, { dtype: storage, shape: isSame ? [] : [matrix.rows], data: array(isSame ? zeros.subarray(0, 1) : zeros) })

  for (const record of sites) {
    const old = siteNode(graph, record)
    const weight = old.input[record.weightInput] ?? ''
    const { id } = record.site
    const product = (input: string, output: string): NodeProto[] => integerProduct(graph, { record, old, input, output, codes, scales, zeroPoint }, activations)
    graph.removeNode(old)
    if (record.op === 'Gemm') graph.addNode(...gemmAsMatMul(graph, old, record, product))
    else if (isConv && (old.input[2] ?? '') !== '') {
      const raw = graph.freshName(`${record.anchor}_product`)
      graph.addNode(...product(old.input[0] ?? '', raw), ...addChannelBias(graph, record, old.input[2] ?? '', raw, id))
    } else graph.addNode(...product(old.input[record.dataInput] ?? '', record.anchor))
    graph.removeIfUnread(weight)
  }
}

interface ProductParts {
  readonly record: SiteRecord
  readonly old: NodeProto
  readonly input: string
  readonly output: string
  readonly codes: string
  readonly scales: string
  readonly zeroPoint: string
}

/** `Cast(MatMulInteger(x, w)) · (scale x · scale w)`, the form that ONNX Runtime fuses into one operator. */
function integerProduct(graph: Graph, { record, old, input, output, codes, scales, zeroPoint }: ProductParts, activations: DynamicActivations): NodeProto[] {
  const { id } = record.site
  const fresh = (role: string): string => graph.freshName(`${output}_${role}`)
  const nodes: NodeProto[] = []
  const isHalf = record.floatType === 'float16'
  let x = input
  if (isHalf) {
    // DynamicQuantizeLinear takes float32 only.
    x = fresh('input_float')
    nodes.push(node('Cast', [input], [x], { to: 1 }, '', graph.freshName(`${id}/Cast`)))
  }
  const activation = activations.quantize(x)
  const integers = fresh('integers')
  const floats = fresh('floats')
  const scale = fresh('scale')
  const operands = [activation.codes, codes, activation.zeroPoint, ...(zeroPoint === '' ? [] : [zeroPoint])]
  const integer = record.op === 'Conv' ? node('ConvInteger', operands, [integers], {}, '', old.name) : node('MatMulInteger', operands, [integers], {}, '', old.name)
  if (record.op === 'Conv') integer.attribute = [...old.attribute]
  const result = isHalf ? fresh('float') : output
  nodes.push(
    integer,
    node('Cast', [integers], [floats], { to: 1 }, '', graph.freshName(`${id}/Cast`)),
    node('Mul', [activation.scale, scales], [scale], {}, '', graph.freshName(`${id}/scales`)),
    node('Mul', [floats, scale], [result], {}, '', graph.freshName(`${id}/Mul`)),
  )
  if (isHalf) nodes.push(node('Cast', [result], [output], { to: 10 }, '', graph.freshName(`${id}/Cast`)))
  return nodes
}

/** Codes in the storage type, as `[N, K]`. */
function moveCodes(q: QTensor, storage: WeightStorage, offset: number): Uint8Array<ArrayBuffer> | Int8Array<ArrayBuffer> {
  const out = storage === 'uint8' ? new Uint8Array(q.codes.length) : new Int8Array(q.codes.length)
  for (let i = 0; i < out.length; i++) out[i] = q.codes[i] + offset
  return out
}

/** A Conv's bias `[N]`, reshaped to stand beside the channels. */
function addChannelBias(graph: Graph, record: SiteRecord, bias: string, raw: string, id: string): NodeProto[] {
  const shape = [1, record.matrix.rows, ...record.matrix.shape.slice(2).map(() => 1)]
  const dims = addConstant(graph, `${record.anchor}_bias_shape`, { dtype: 'int64', shape: [shape.length], data: BigInt64Array.from(shape, BigInt) })
  const reshaped = graph.freshName(`${record.anchor}_bias`)
  return [
    node('Reshape', [bias, dims], [reshaped], {}, '', graph.freshName(`${id}/Reshape`)),
    node('Add', [raw, reshaped], [record.anchor], {}, '', graph.freshName(`${id}/Add`)),
  ]
}

function storageOf(setting: Json | undefined): WeightStorage {
  if (setting === undefined) return 'uint8'
  if (setting === 'uint8' || setting === 'int8') return setting
  throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'setting weightStorage', found: JSON.stringify(setting), expected: "'uint8' or 'int8'" })
}
