import { type QTensor, zeroPointsOf } from '@lowbit/core'
import { node } from '@lowbit/formats'
import { type Graph, MICROSOFT } from '../graph/index.js'
import { fromRows, type SiteRecord, transpose } from '../sites/index.js'
import { addConstant, addFloats } from './constants.js'
import { expandRows } from './expand-rows.js'
import { added, baseName, firstColumns, reshaped } from './weight-nodes.js'
import { expectStoredType, hostType, plainGranularity, storedArray, type StoredType, wholeZeroPoints } from './stored-codes.js'

/**
 * When codes become floats again. `run`: a DequantizeLinear, which ONNX Runtime keeps and runs each time (it looks for integer
 * kernels behind it). `load`: operators that its optimizer computes once, when the model is loaded; then it is as fast, and as
 * large in memory, as the float model.
 */
export type Expand = 'run' | 'load'

/**
 * Stores the codes of a weight and puts a DequantizeLinear behind them.
 *
 * Per tensor and per channel the codes lie as the operator takes its weight. Groups are blocked quantization from opset 21
 * on; below, and with float zero points, each group becomes a channel of an `[N · groups, size]` matrix that is then
 * reshaped, which every opset has. Types and axes that ONNX's own DequantizeLinear does not know at the model's opset go to
 * ONNX Runtime's (`com.microsoft`).
 * @returns the float tensor, in the operator's shape
 */
export function dequantizeWeight(graph: Graph, record: SiteRecord, weight: QTensor, expand: Expand = 'run'): string {
  const q = plainGranularity(weight)
  if (expand === 'load') return regrouped(graph, record, q, expand)
  const { kind } = q.scheme.granularity
  const isFloatZero = q.scheme.zeroPoint === 'float' && q.params.zeroPoints !== undefined
  if (isFloatZero || (record.matrix.orientation === 'convTranspose' && record.matrix.groups > 1 && kind !== 'tensor')) return regrouped(graph, record, q)
  if (kind !== 'group') return inPlace(graph, record, q)
  return graph.opset() >= 21 && record.matrix.orientation !== 'convTranspose' ? blocked(graph, record, q) : regrouped(graph, record, q)
}

/** One scale, or one an output channel. */
function inPlace(graph: Graph, record: SiteRecord, q: QTensor): string {
  const type = expectStoredType(q.scheme, `weight of site '${record.site.id}'`)
  const { matrix } = record
  const perChannel = q.scheme.granularity.kind === 'channel'
  const codes = addConstant(graph, baseName(record), { dtype: hostType(type), shape: matrix.shape, data: fromRows(storedArray(type, q.codes), matrix) }, type)
  return dequantizeLinear(graph, record, {
    type,
    codes,
    scales: q.params.scales,
    shape: perChannel ? [matrix.rows] : [],
    zeros: wholeZeroPoints(q),
    ...(perChannel ? { axis: matrix.orientation === 'NK' ? 0 : 1 } : {}),
  })
}

/** Blocked quantization along K, opset 21. */
function blocked(graph: Graph, record: SiteRecord, q: QTensor): string {
  const type = expectStoredType(q.scheme, `weight of site '${record.site.id}'`)
  const { matrix } = record
  const { rows, columns } = matrix
  const size = q.scheme.granularity.kind === 'group' ? q.scheme.granularity.size : columns
  const groups = Math.ceil(columns / size)
  const isTransposed = matrix.orientation === 'KN'
  const scales = new Float32Array(q.params.scales)
  const zeros = wholeZeroPoints(q)
  const out = dequantizeLinear(graph, record, {
    type,
    codes: addConstant(graph, baseName(record), { dtype: hostType(type), shape: isTransposed ? [columns, rows] : [rows, columns], data: isTransposed ? transpose(storedArray(type, q.codes), rows, columns) : storedArray(type, q.codes) }, type),
    scales: isTransposed ? transpose(scales, rows, groups) : scales,
    shape: isTransposed ? [groups, rows] : [rows, groups],
    zeros: zeros === undefined || !isTransposed ? zeros : Int32Array.from(transpose(storedArray('int16', zeros), rows, groups)),
    axis: isTransposed ? 0 : 1,
    blockSize: size,
  })
  return matrix.shape.length === 2 ? out : reshaped(graph, record, out, matrix.shape)
}

/** Each group a row of its own: `[N · groups, size]`. */
function regrouped(graph: Graph, record: SiteRecord, q: QTensor, expand: Expand = 'run'): string {
  const type = expectStoredType(q.scheme, `weight of site '${record.site.id}'`)
  const { matrix } = record
  const { rows, columns } = matrix
  const { granularity } = q.scheme
  const size = granularity.kind === 'group' ? granularity.size : columns
  const groups = Math.ceil(columns / size)
  const codes = padded(storedArray(type, q.codes), rows, columns, groups * size)
  const granules = rows * groups
  const spread = granularity.kind === 'tensor' ? new Float32Array(granules).fill(q.params.scales[0] ?? 0) : new Float32Array(q.params.scales)
  const isFloatZero = q.scheme.zeroPoint === 'float' && q.params.zeroPoints !== undefined
  const zeros = isFloatZero ? undefined : wholeZeroPoints(q)
  const spreadZeros = zeros === undefined || granularity.kind !== 'tensor' ? zeros : new Int32Array(granules).fill(zeros[0] ?? 0)
  let out =
    expand === 'load'
      ? expandRows(graph, record, { type, codes, scales: spread, zeros: spreadZeros })
      : dequantizeLinear(graph, record, {
          type,
          codes: addConstant(graph, baseName(record), { dtype: hostType(type), shape: [granules, size], data: codes }, type),
          scales: spread,
          shape: [granules],
          zeros: spreadZeros,
          axis: 0,
        })
  if (isFloatZero) {
    // (q - z)·s as q·s - z·s: DequantizeLinear has whole zero points only.
    const zero = zeroPointsOf(q)
    const shift = spread.map((s, i) => s * (granularity.kind === 'tensor' ? zero[0] ?? 0 : zero[i] ?? 0))
    out = added(graph, record, 'Sub', [out, addFloats(graph, `${baseName(record)}_shift`, shift, [granules, 1], record.floatType)])
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
  readonly shape: readonly number[]
  readonly zeros: Int32Array | undefined
  readonly axis?: number
  readonly blockSize?: number
}

function dequantizeLinear(graph: Graph, record: SiteRecord, { type, codes, scales, shape, zeros, axis, blockSize }: Dequantized): string {
  const inputs = [codes, addFloats(graph, `${baseName(record)}_scale`, new Float32Array(scales), shape, record.floatType)]
  if (zeros !== undefined) inputs.push(addConstant(graph, `${baseName(record)}_zero_point`, { dtype: hostType(type), shape, data: storedArray(type, zeros) }, type))
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
