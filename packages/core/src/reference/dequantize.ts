import { FP4, NF4 } from '../numbers/codebook.js'
import { decodeTable, FLOAT8_E4M3FN, FLOAT8_E5M2 } from '../numbers/small-float.js'
import { checkQTensor, granuleIndex, type QTensor } from '../qtensor.js'
import { isIntegerCode, type TableCode } from '../scheme.js'
import { wholly, type Slices } from '../slices/slices.js'
import type { HostTensor } from '../tensor.js'
import { zeroPointsOf } from './codes.js'

/** Values by code of a table type. */
export function tableValues(dtype: TableCode): Float32Array {
  switch (dtype) {
    case 'nf4': return NF4
    case 'fp4': return FP4
    case 'float8e4m3fn': return decodeTable(FLOAT8_E4M3FN)
    case 'float8e5m2': return decodeTable(FLOAT8_E5M2)
  }
}

/**
 * Real values of codes, float32: `(code - zeroPoint) · scale` for integers, `table[code] · scale` for table types.
 * The difference is rounded to float32 before the product, as ONNX Runtime does with float zero points.
 * @throws LOWBIT_SHAPE if codes or parameters do not fit the shape.
 */
export function dequantize(q: QTensor): HostTensor<'float32'> {
  return wholly(dequantizeSlices(q))
}

/** Elements between two cuts. */
const PIECE = 2 ** 18

/** {@link dequantize} in slices. */
export function* dequantizeSlices(q: QTensor): Slices<HostTensor<'float32'>> {
  checkQTensor(q, 'dequantize')
  const { codes, scheme, params, shape } = q
  const out = new Float32Array(codes.length)
  const table = isIntegerCode(scheme.dtype) ? undefined : tableValues(scheme.dtype)
  const zeroPoints = zeroPointsOf(q)
  const { kind } = scheme.granularity
  const along = shape[shape.length - 1] ?? 1
  const last = shape.length - 1
  // Granules that lie in one piece: everything a model holds in practice. The rest goes by the slow mapping.
  let piece = 0
  let row = along
  if (kind === 'tensor') piece = row = codes.length
  else if (kind === 'channel' && scheme.granularity.axis === 0) piece = row = codes.length / Math.max(shape[0] ?? 1, 1)
  else if (kind === 'group' && scheme.granularity.axis === last) piece = Math.min(scheme.granularity.size, along)
  if (piece > 0) {
    let granule = 0
    let done = 0
    for (let start = 0; start < codes.length; start += row) {
      if (start - done >= PIECE) {
        done = start
        yield
      }
      for (let from = start; from < start + row; from += piece, granule++) {
        const to = Math.min(from + piece, start + row)
        const scale = params.scales[granule] ?? 0
        const zero = zeroPoints[granule] ?? 0
        if (table !== undefined) for (let i = from; i < to; i++) out[i] = (table[codes[i] ?? 0] ?? 0) * scale
        else for (let i = from; i < to; i++) out[i] = Math.fround((codes[i] ?? 0) - zero) * scale
      }
    }
    return { dtype: 'float32', shape, data: out }
  }
  const granuleOf = granuleIndex(scheme.granularity, shape)
  for (let i = 0; i < out.length; i++) {
    if (i % PIECE === PIECE - 1) yield
    const granule = granuleOf(i)
    const scale = params.scales[granule] ?? 0
    out[i] = table !== undefined ? (table[codes[i] ?? 0] ?? 0) * scale : Math.fround((codes[i] ?? 0) - (zeroPoints[granule] ?? 0)) * scale
  }
  return { dtype: 'float32', shape, data: out }
}
