import { DataType } from '@lowbit/formats'
import type { Graph } from '../graph/index.js'
import type { SiteRecord } from '../sites/index.js'
import { addConstant, addFloats } from './constants.js'
import { hostType, type storedArray, type StoredType } from './stored-codes.js'
import { added, baseName, firstColumns, reshaped } from './weight-nodes.js'

export interface CodeRows {
  readonly type: StoredType
  /** `[rows, length]` */
  readonly codes: ReturnType<typeof storedArray>
  /** One a row. */
  readonly scales: Float32Array
  readonly zeros: Int32Array | undefined
}

/**
 * Rows of codes to floats with operators that every opset has and that the runtime's optimizer evaluates once, at load: Cast,
 * Sub and Mul. DequantizeLinear it leaves alone, and of ONNX Runtime's own operators it evaluates none.
 * @returns the name of a `[rows, length]` tensor
 */
export function expandRows(graph: Graph, record: SiteRecord, { type, codes, scales, zeros }: CodeRows): string {
  const base = baseName(record)
  const rows = scales.length
  const length = codes.length / rows
  const isNibble = type === 'int4' || type === 'uint4'
  // Signed nibbles are stored moved up by 8.
  const offset = type === 'int4' ? 8 : 0
  let out = isNibble
    ? nibbles(graph, record, codes, offset, [rows, length])
    : added(graph, record, 'Cast', [addConstant(graph, base, { dtype: hostType(type), shape: [rows, length], data: codes }, type)], { to: DataType.FLOAT })
  if (zeros !== undefined || offset !== 0) {
    const centre = Float32Array.from({ length: rows }, (_, i) => (zeros?.[i] ?? 0) + offset)
    const isSame = centre.every((z) => z === centre[0])
    out = added(graph, record, 'Sub', [out, addFloats(graph, `${base}_zero_point`, isSame ? centre.slice(0, 1) : centre, isSame ? [1, 1] : [rows, 1])])
  }
  out = added(graph, record, 'Mul', [out, addFloats(graph, `${base}_scale`, new Float32Array(scales), [rows, 1])])
  return record.floatType === 'float16' ? added(graph, record, 'Cast', [out], { to: DataType.FLOAT16 }) : out
}

/** Two codes a byte, the first in the low half: `high = floor(byte / 16)`, `low = byte - 16 · high`. */
function nibbles(graph: Graph, record: SiteRecord, codes: ArrayLike<number>, offset: number, shape: readonly [number, number]): string {
  const base = baseName(record)
  const bytes = new Uint8Array(Math.ceil(codes.length / 2))
  for (let i = 0; i < codes.length; i++) bytes[i >> 1] |= (codes[i] + offset) << (i % 2 === 0 ? 0 : 4)
  const scalar = (value: number): string => addFloats(graph, `${base}_${value === 16 ? 'shift' : 'unshift'}`, Float32Array.of(value), [1, 1])
  const packed = added(graph, record, 'Cast', [addConstant(graph, base, { dtype: 'uint8', shape: [bytes.length, 1], data: bytes })], { to: DataType.FLOAT })
  const high = added(graph, record, 'Floor', [added(graph, record, 'Mul', [packed, scalar(1 / 16)])])
  const low = added(graph, record, 'Sub', [packed, added(graph, record, 'Mul', [high, scalar(16)])])
  let out = added(graph, record, 'Concat', [low, high], { axis: 1 })
  if (codes.length % 2 === 1) out = firstColumns(graph, record, reshaped(graph, record, out, [1, codes.length + 1]), codes.length)
  return reshaped(graph, record, out, shape)
}
