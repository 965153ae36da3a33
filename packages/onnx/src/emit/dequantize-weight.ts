import { LowbitError, type PlannedWeight, type QTensor, zeroPointsOf } from '@lowbit/core'
import { node } from '@lowbit/formats'
import { type Graph, MICROSOFT } from '../graph/index.js'
import { groupSize, hasFloatZeros } from '../plan/dequantized.js'
import { codesOf } from '../plan/onnx-plan.js'
import { expectStoredType, storedArray, type StoredType } from '../plan/stored-codes.js'
import { fromRows, type SiteRecord, transpose } from '../sites/index.js'
import { expandRows } from './expand-rows.js'
import { store, storeScales, stores } from './store.js'
import { added, baseName, firstColumns, reshaped } from './weight-nodes.js'

/**
 * Stores the codes of a weight and puts a DequantizeLinear, or what the runtime's optimizer evaluates at load, behind them. Types
 * and axes that ONNX's own DequantizeLinear does not know at the model's opset go to ONNX Runtime's (`com.microsoft`).
 * @returns the float tensor, in the operator's shape
 */
export function writeDequantized(graph: Graph, weight: PlannedWeight, owner: SiteRecord): string {
  const q = codesOf(weight)
  switch (weight.form) {
    case 'in-place': return inPlace(graph, weight, owner, q)
    case 'blocked': return blocked(graph, weight, owner, q)
    case 'regrouped': case 'expanded': return regrouped(graph, weight, owner, q)
    default: throw new LowbitError('LOWBIT_INTERNAL', { thing: `weight '${weight.name}'`, found: `form '${weight.form}'` })
  }
}

/** One scale, or one an output channel. */
function inPlace(graph: Graph, weight: PlannedWeight, record: SiteRecord, q: QTensor): string {
  const type = expectStoredType(q.scheme, `weight of site '${record.site.id}'`)
  const { matrix } = record
  return dequantizeLinear(graph, weight, record, {
    type,
    codes: store(graph, weight, 'codes', baseName(record), fromRows(storedArray(type, q.codes), matrix)),
    scales: q.params.scales,
    zeros: zeroPointsOf(q),
    ...(q.scheme.granularity.kind === 'channel' ? { axis: matrix.orientation === 'NK' ? 0 : 1 } : {}),
  })
}

/** Blocked quantization along K, opset 21. */
function blocked(graph: Graph, weight: PlannedWeight, record: SiteRecord, q: QTensor): string {
  const type = expectStoredType(q.scheme, `weight of site '${record.site.id}'`)
  const { matrix } = record
  const { rows, columns } = matrix
  const size = groupSize(record, q)
  const groups = Math.ceil(columns / size)
  const isTurned = matrix.orientation === 'KN'
  const codes = storedArray(type, q.codes)
  const scales = new Float32Array(q.params.scales)
  const zeros = storedArray('int16', zeroPointsOf(q))
  const out = dequantizeLinear(graph, weight, record, {
    type,
    codes: store(graph, weight, 'codes', baseName(record), isTurned ? transpose(codes, rows, columns) : codes),
    scales: isTurned ? transpose(scales, rows, groups) : scales,
    zeros: isTurned ? transpose(zeros, rows, groups) : zeros,
    axis: isTurned ? 0 : 1,
    blockSize: size,
  })
  return matrix.shape.length === 2 ? out : reshaped(graph, record, out, matrix.shape)
}

/** Each group a row of its own: `[N · groups, size]`. */
function regrouped(graph: Graph, weight: PlannedWeight, record: SiteRecord, q: QTensor): string {
  const type = expectStoredType(q.scheme, `weight of site '${record.site.id}'`)
  const { matrix } = record
  const { rows, columns } = matrix
  const size = groupSize(record, q)
  const groups = Math.ceil(columns / size)
  const granules = rows * groups
  const codes = padded(storedArray(type, q.codes), rows, columns, groups * size)
  const isTensor = q.scheme.granularity.kind === 'tensor'
  const zero = zeroPointsOf(q)
  const scales = isTensor ? new Float32Array(granules).fill(q.params.scales[0] ?? 0) : new Float32Array(q.params.scales)
  const zeros = isTensor ? Float64Array.from({ length: granules }, () => zero[0] ?? 0) : zero
  let out =
    weight.form === 'expanded'
      ? expandRows(graph, weight, record, { type, codes, scales, zeros: hasFloatZeros(q) ? undefined : zeros })
      : dequantizeLinear(graph, weight, record, { type, codes: store(graph, weight, 'codes', baseName(record), codes), scales, zeros, axis: 0 })
  if (stores(weight, 'shift')) {
    // (q - z)·s as q·s - z·s: DequantizeLinear has whole zero points only.
    const shift = scales.map((s, i) => s * (zeros[i] ?? 0))
    out = added(graph, record, 'Sub', [out, store(graph, weight, 'shift', `${baseName(record)}_shift`, shift)])
  }
  out = reshaped(graph, record, out, [rows, groups * size])
  if (groups * size > columns) out = firstColumns(graph, record, out, columns)
  if (matrix.orientation === 'KN') return added(graph, record, 'Transpose', [out], { perm: [1, 0] })
  if (matrix.orientation === 'NK') return matrix.shape.length === 2 ? out : reshaped(graph, record, out, matrix.shape)
  const kernel = matrix.columnsPerChannel
  out = reshaped(graph, record, out, [matrix.groups, rows / matrix.groups, columns / kernel, kernel])
  out = added(graph, record, 'Transpose', [out], { perm: [0, 2, 1, 3] })
  return reshaped(graph, record, out, matrix.shape)
}

interface Dequantized {
  readonly type: StoredType
  readonly codes: string
  readonly scales: Float32Array
  /** Stored where the plan has a place for them. */
  readonly zeros: ArrayLike<number>
  readonly axis?: number
  readonly blockSize?: number
}

function dequantizeLinear(graph: Graph, weight: PlannedWeight, record: SiteRecord, { type, codes, scales, zeros, axis, blockSize }: Dequantized): string {
  const inputs = [codes, storeScales(graph, weight, record, `${baseName(record)}_scale`, scales)]
  if (stores(weight, 'zeroPoints')) inputs.push(store(graph, weight, 'zeroPoints', `${baseName(record)}_zero_point`, storedArray(type, zeros)))
  const out = graph.freshName(`${baseName(record)}_dequantized`)
  const domain = dequantizeDomain(graph, type, axis !== undefined, record.floatType)
  if (domain === MICROSOFT) graph.setOpset(MICROSOFT, Math.max(1, graph.opset(MICROSOFT)))
  graph.addNode(node('DequantizeLinear', inputs, [out], { ...(axis === undefined ? {} : { axis }), ...(blockSize === undefined ? {} : { block_size: blockSize }) }, domain, graph.freshName(`${record.site.id}/DequantizeLinear`)))
  return out
}

/** ONNX's own DequantizeLinear where the model's opset has it for the type, else ONNX Runtime's. */
export function dequantizeDomain(graph: Graph, type: StoredType, hasAxis: boolean, floatType: 'float32' | 'float16'): '' | typeof MICROSOFT {
  const needed = Math.max(type === 'int8' || type === 'uint8' ? 10 : 21, hasAxis ? 13 : 0, floatType === 'float16' ? 19 : 0)
  return graph.opset() >= needed ? '' : MICROSOFT
}

function padded(codes: ReturnType<typeof storedArray>, rows: number, from: number, to: number): ReturnType<typeof storedArray> {
  if (from === to) return codes
  const make: new (length: number) => ReturnType<typeof storedArray> = codes.constructor as new (length: number) => typeof codes
  const out = new make(rows * to)
  for (let n = 0; n < rows; n++) out.set(codes.subarray(n * from, (n + 1) * from), n * to)
  return out
}
