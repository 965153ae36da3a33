import type { PlannedWeight } from '@lowbit/core'
import { DataType } from '@lowbit/formats'
import { addFloats, type Graph } from '../graph/index.js'
import { storedTensor } from '../plan/onnx-plan.js'
import type { storedArray, StoredType } from '../plan/stored-codes.js'
import type { SiteRecord } from '../sites/index.js'
import { store, storeScales } from './store.js'
import { added, baseName, firstColumns, reshaped } from './weight-nodes.js'

export interface CodeRows {
  readonly type: StoredType
  /** `[rows, length]` */
  readonly codes: ReturnType<typeof storedArray>
  /** One a row. */
  readonly scales: Float32Array
  readonly zeros: ArrayLike<number> | undefined
}

/**
 * Rows of codes to floats with operators that every opset has and that the runtime's optimizer evaluates once, at load: Cast,
 * Sub and Mul. DequantizeLinear it leaves alone, and of ONNX Runtime's own operators it evaluates none.
 * @returns the name of a `[rows, length]` tensor
 */
export function expandRows(graph: Graph, weight: PlannedWeight, record: SiteRecord, { type, codes, scales, zeros }: CodeRows): string {
  const base = baseName(record)
  const rows = scales.length
  const length = codes.length / rows
  const isNibble = type === 'int4' || type === 'uint4'
  // Signed nibbles are stored moved up by 8.
  const offset = type === 'int4' ? 8 : 0
  let out = isNibble
    ? nibbles(graph, weight, record, codes, offset, [rows, length])
    : added(graph, record, 'Cast', [store(graph, weight, 'codes', base, codes)], { to: DataType.FLOAT })
  const planned = storedTensor(weight, 'zeroPoints')
  if (planned !== undefined) {
    const centre = Float32Array.from({ length: planned.shape[0] ?? 1 }, (_, i) => (zeros?.[i] ?? 0) + offset)
    out = added(graph, record, 'Sub', [out, store(graph, weight, 'zeroPoints', `${base}_zero_point`, centre)])
  }
  out = added(graph, record, 'Mul', [out, storeScales(graph, weight, { ...record, floatType: 'float32' }, `${base}_scale`, scales)])
  return record.floatType === 'float16' ? added(graph, record, 'Cast', [out], { to: DataType.FLOAT16 }) : out
}

/** Two codes a byte, the first in the low half: `high = floor(byte / 16)`, `low = byte - 16 · high`. */
function nibbles(graph: Graph, weight: PlannedWeight, record: SiteRecord, codes: ArrayLike<number>, offset: number, shape: readonly [number, number]): string {
  const base = baseName(record)
  const bytes = new Uint8Array(Math.ceil(codes.length / 2))
  for (let i = 0; i < codes.length; i++) bytes[i >> 1] |= (codes[i] + offset) << (i % 2 === 0 ? 0 : 4)
  const scalar = (value: number): string => addFloats(graph, `${base}_${value === 16 ? 'shift' : 'unshift'}`, Float32Array.of(value), [1, 1])
  const packed = added(graph, record, 'Cast', [store(graph, weight, 'codes', base, bytes)], { to: DataType.FLOAT })
  const high = added(graph, record, 'Floor', [added(graph, record, 'Mul', [packed, scalar(1 / 16)])])
  const low = added(graph, record, 'Sub', [packed, added(graph, record, 'Mul', [high, scalar(16)])])
  let out = added(graph, record, 'Concat', [low, high], { axis: 1 })
  if (codes.length % 2 === 1) out = firstColumns(graph, record, reshaped(graph, record, out, [1, codes.length + 1]), codes.length)
  return reshaped(graph, record, out, shape)
}
