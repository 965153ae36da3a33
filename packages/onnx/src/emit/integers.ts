import { type PlannedWeight, zeroPointsOf } from '@lowbit/core'
import { node, type NodeProto } from '@lowbit/formats'
import { addInts, type Graph } from '../graph/index.js'
import { codesOf, gridOf, storedTensor } from '../plan/onnx-plan.js'
import { storedArray } from '../plan/stored-codes.js'
import { fromRows, type SiteRecord, siteNode } from '../sites/index.js'
import { gemmAsMatMul } from './gemm-as-matmul.js'
import { store, stores } from './store.js'

/** DynamicQuantizeLinear of each tensor, once for all its readers. */
export class DynamicActivations {
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

/** Products of integers whose input is rounded at run time. */
export function writeIntegers(graph: Graph, weight: PlannedWeight, sites: readonly SiteRecord[], activations: DynamicActivations): void {
  const [owner] = sites
  if (owner === undefined) return
  const { matrix } = owner
  const q = codesOf(weight)
  const { shift } = gridOf(weight)
  const isConv = owner.op === 'Conv'
  const storage = storedTensor(weight, 'codes')?.type === 'int8' ? 'int8' : 'uint8'
  const moved = moveCodes(q.codes, storage, shift)
  const base = `${owner.site.weight.name}_q`
  const codes = store(graph, weight, 'codes', base, isConv ? moved : fromRows(moved, { ...matrix, orientation: 'KN', shape: [matrix.columns, matrix.rows] }))
  const scales = store(graph, weight, 'scales', `${base}_scale`, new Float32Array(q.params.scales))
  const zeros = zeroPointsOf(q)
  const count = storedTensor(weight, 'zeroPoints')?.shape.length === 0 ? 1 : zeros.length
  const zeroPoint = stores(weight, 'zeroPoints') ? store(graph, weight, 'zeroPoints', `${base}_zero_point`, storedArray(storage, Array.from(zeros.subarray(0, count), (z) => z + shift))) : ''
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

function moveCodes(codes: ArrayLike<number>, storage: 'uint8' | 'int8', shift: number): Uint8Array<ArrayBuffer> | Int8Array<ArrayBuffer> {
  const out = storage === 'uint8' ? new Uint8Array(codes.length) : new Int8Array(codes.length)
  for (let i = 0; i < out.length; i++) out[i] = codes[i] + shift
  return out
}

/** A Conv's bias `[N]`, reshaped to stand beside the channels. */
function addChannelBias(graph: Graph, record: SiteRecord, bias: string, raw: string, id: string): NodeProto[] {
  const shape = [1, record.matrix.rows, ...record.matrix.shape.slice(2).map(() => 1)]
  const dims = addInts(graph, `${record.anchor}_bias_shape`, shape)
  const reshaped = graph.freshName(`${record.anchor}_bias`)
  return [
    node('Reshape', [bias, dims], [reshaped], {}, '', graph.freshName(`${id}/Reshape`)),
    node('Add', [raw, reshaped], [record.anchor], {}, '', graph.freshName(`${id}/Add`)),
  ]
}
