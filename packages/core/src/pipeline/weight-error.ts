import type { QTensor } from '../qtensor.js'
import { dequantize, dequantizeSlices } from '../reference/dequantize.js'
import { DifferenceMeter, type Difference } from '../report/measures.js'
import type { Slices } from '../slices/slices.js'

/** Weights dequantized at a time: a whole large weight more would show in the peak memory of a run. */
const BLOCK = 1 << 18

/** How far codes `[N, K]` are from the weights they stand for. */
export function* weightError(weight: Float32Array, q: QTensor): Slices<Difference> {
  const meter = new DifferenceMeter()
  const [rows, columns] = q.shape
  const perRow = q.params.scales.length / Math.max(1, rows)
  const { granularity } = q.scheme
  const rowwise = granularity.kind === 'tensor' || (granularity.kind === 'channel' && granularity.axis === 0) || (granularity.kind === 'group' && granularity.axis === 1)
  if (!rowwise) return meter.add(weight, (yield* dequantizeSlices(q)).data).result()
  const step = Math.max(1, Math.floor(BLOCK / Math.max(1, columns)))
  for (let row = 0; row < rows; row += step) {
    const end = Math.min(rows, row + step)
    meter.add(weight.subarray(row * columns, end * columns), dequantize(rowBlock(q, row, end, columns, perRow)).data)
    yield
  }
  return meter.result()
}

/** Rows `from` to `to` as views of the whole. */
function rowBlock(q: QTensor, from: number, to: number, columns: number, perRow: number): QTensor {
  const { scheme, codes, params } = q
  const shape = [to - from, columns]
  const part = codes.subarray(from * columns, to * columns)
  if (scheme.granularity.kind === 'tensor') return { scheme, shape, codes: part, params }
  const zeroPoints = params.zeroPoints?.subarray(from * perRow, to * perRow)
  const scales = params.scales.subarray(from * perRow, to * perRow)
  return { scheme, shape, codes: part, params: { scales, shape: [to - from, ...params.shape.slice(1)], ...(zeroPoints === undefined ? {} : { zeroPoints }) } }
}
