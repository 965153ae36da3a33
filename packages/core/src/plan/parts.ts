import type { DType } from '../dtype.js'
import { LowbitError } from '../errors.js'
import { type Codes, granuleIndex, paramShape, type QTensor } from '../qtensor.js'
import { dequantize, tableValues } from '../reference/dequantize.js'
import { isIntegerCode, type Scheme } from '../scheme.js'

/** A tensor of a plan, in whatever memory its numbers lie. */
export interface PlanTensor<A extends PlanData = PlanData> {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly data: A
}

type PlanData = Codes | Float32Array | Int32Array

/** Codes on a uniform grid: `(code - zeroPoint) · scale`. */
export interface GridPart {
  readonly kind: 'grid'
  readonly scheme: Scheme
  /** `[N, K]`, one code an element, as decided: before `shift`. */
  readonly codes: PlanTensor<Codes>
  /** Over the granule grid. */
  readonly scales: PlanTensor<Float32Array>
  readonly zeroPoints?: PlanTensor<Int32Array | Float32Array>
  /** What is added to codes and zero points in the file: the same values, in an unsigned type. */
  readonly shift: number
}

/** Codes that are entries of a table: `table[code] · scale`. */
export interface TablePart {
  readonly kind: 'table'
  readonly scheme: Scheme
  readonly codes: PlanTensor<Uint8Array>
  readonly scales: PlanTensor<Float32Array>
  readonly table: PlanTensor<Float32Array>
}

/**
 * Codes whose scales are codes too, as in K-quants and double quantization: group g of super block b has the scale
 * `scales[g] · superScales[b]` and, where there are minima, `minima[g] · superMinima[b]` is taken away.
 */
export interface TwoLevelPart {
  readonly kind: 'two-level'
  readonly codes: PlanTensor<Int8Array | Uint8Array>
  /** Elements along K that share a scale, and groups that share a super scale. */
  readonly group: number
  readonly superGroup: number
  /** `[N, K / group]` */
  readonly scales: PlanTensor<Int8Array | Uint8Array>
  /** `[N, K / (group · superGroup)]` */
  readonly superScales: PlanTensor<Float32Array>
  readonly minima?: PlanTensor<Int8Array | Uint8Array>
  readonly superMinima?: PlanTensor<Float32Array>
  /** What codes stand for, where that is not themselves. */
  readonly table?: PlanTensor<Float32Array>
}

/** Columns that stay in float: outliers of LLM.int8(). */
export interface ColumnsPart {
  readonly kind: 'columns'
  /** Which columns. */
  readonly columns: PlanTensor<Int32Array>
  /** `[N, columns]` */
  readonly values: PlanTensor<Float32Array>
}

/** `left · right`: `[N, rank]` and `[rank, K]`. */
export interface LowRankPart {
  readonly kind: 'low-rank'
  readonly left: PlanTensor<Float32Array>
  readonly right: PlanTensor<Float32Array>
}

/** Vector codes: each index stands for `width` elements along K. */
export interface CodebookPart {
  readonly kind: 'codebook'
  /** `[N, K / width]` */
  readonly indices: PlanTensor<Uint8Array | Uint16Array>
  /** `[entries, width]` */
  readonly entries: PlanTensor<Float32Array>
  /** One a row of the weight; absent: 1. */
  readonly scales?: PlanTensor<Float32Array>
}

/** A part of a kind that this version does not know: who meets one refuses it by name. */
export interface OtherPart {
  readonly kind: `x-${string}`
  readonly tensors: Readonly<Record<string, PlanTensor>>
}

/** A weight is the sum of its parts. The union is open: further kinds are further rows. */
export type WeightPart = GridPart | TablePart | TwoLevelPart | ColumnsPart | LowRankPart | CodebookPart | OtherPart

/** Codes on a grid, or of a table, as a part of a plan. Nothing is copied. */
export function partOf(q: QTensor, shift = 0): GridPart | TablePart {
  const { scheme, params, shape } = q
  const scales: PlanTensor<Float32Array> = { dtype: 'float32', shape: params.shape, data: params.scales }
  if (!isIntegerCode(scheme.dtype)) {
    const table = tableValues(scheme.dtype)
    return { kind: 'table', scheme, codes: { dtype: 'uint8', shape, data: Uint8Array.from(q.codes) }, scales, table: { dtype: 'float32', shape: [table.length], data: table.slice() } }
  }
  const { zeroPoints } = params
  const zeros: PlanTensor<Int32Array | Float32Array> | undefined = zeroPoints === undefined ? undefined : { dtype: zeroPoints instanceof Int32Array ? 'int32' : 'float32', shape: params.shape, data: zeroPoints }
  return { kind: 'grid', scheme, codes: { dtype: codesType(q.codes), shape, data: q.codes }, scales, ...(zeros === undefined ? {} : { zeroPoints: zeros }), shift }
}

/** The codes of a grid part as they were decided. Nothing is copied. */
export function qTensorOf({ scheme, codes, scales, zeroPoints }: GridPart): QTensor {
  return { scheme, shape: codes.shape, codes: codes.data, params: { scales: scales.data, shape: paramShape(scheme.granularity, codes.shape), ...(zeroPoints === undefined ? {} : { zeroPoints: zeroPoints.data }) } }
}

function codesType(codes: Codes): 'int8' | 'uint8' | 'int16' | 'uint16' {
  if (codes instanceof Int8Array) return 'int8'
  if (codes instanceof Uint8Array) return 'uint8'
  return codes instanceof Int16Array ? 'int16' : 'uint16'
}

/**
 * What a weight stored in parts stands for, float32 `[N, K]`: their sum, in the order they are listed.
 * @throws LOWBIT_UNSUPPORTED for a kind of part that this version does not know
 */
export function partsValue(parts: readonly WeightPart[], [rows, columns]: readonly [number, number]): Float32Array<ArrayBuffer> {
  const [only, ...others] = parts
  // One grid is the common case: its own decoder, without a second array.
  if (only?.kind === 'grid' && others.length === 0) return dequantize(qTensorOf(only)).data as Float32Array<ArrayBuffer>
  const sum = new Float32Array(rows * columns)
  for (const part of parts) addPart(part, sum, rows, columns)
  return sum
}

/** @throws LOWBIT_UNSUPPORTED for a kind of part that this version does not know */
function addPart(part: WeightPart, sum: Float32Array, rows: number, columns: number): void {
  switch (part.kind) {
    case 'grid': return addAll(dequantize(qTensorOf(part)).data, sum)
    case 'table': return addTable(part, sum, columns)
    case 'two-level': return addTwoLevel(part, sum, rows, columns)
    case 'columns': return addColumns(part, sum, rows, columns)
    case 'low-rank': return addLowRank(part, sum, rows, columns)
    case 'codebook': return addCodebook(part, sum, rows, columns)
    default:
      throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `part '${part.kind}' of a weight`, found: 'a kind that is not known here', expected: 'grid, table, two-level, columns, low-rank, codebook', fix: 'upgrade the package that reads the plan' })
  }
}

function addAll(values: Float32Array, sum: Float32Array): void {
  for (let i = 0; i < sum.length; i++) sum[i] += values[i]
}

/** One scale a granule, of whatever granularity the scheme has. */
function addTable({ scheme, codes, scales, table }: TablePart, sum: Float32Array, columns: number): void {
  const granule = granuleIndex(scheme.granularity, [sum.length / columns, columns])
  for (let i = 0; i < sum.length; i++) sum[i] += Math.fround(table.data[codes.data[i]] * scales.data[granule(i)])
}

function addTwoLevel({ codes, group, superGroup, scales, superScales, minima, superMinima, table }: TwoLevelPart, sum: Float32Array, rows: number, columns: number): void {
  const groups = Math.ceil(columns / group)
  const blocks = Math.ceil(groups / superGroup)
  for (let n = 0; n < rows; n++) {
    for (let k = 0; k < columns; k++) {
      const g = Math.floor(k / group)
      const block = n * blocks + Math.floor(g / superGroup)
      const scale = Math.fround(scales.data[n * groups + g] * superScales.data[block])
      const minimum = minima === undefined || superMinima === undefined ? 0 : Math.fround(minima.data[n * groups + g] * superMinima.data[block])
      const code = codes.data[n * columns + k]
      sum[n * columns + k] += Math.fround(Math.fround((table === undefined ? code : table.data[code]) * scale) - minimum)
    }
  }
}

function addColumns({ columns: which, values }: ColumnsPart, sum: Float32Array, rows: number, columns: number): void {
  const { length } = which.data
  for (let n = 0; n < rows; n++) for (let i = 0; i < length; i++) sum[n * columns + which.data[i]] += values.data[n * length + i]
}

function addLowRank({ left, right }: LowRankPart, sum: Float32Array, rows: number, columns: number): void {
  const [rank = 0] = right.shape
  for (let n = 0; n < rows; n++) {
    for (let k = 0; k < columns; k++) {
      let value = 0
      for (let r = 0; r < rank; r++) value += left.data[n * rank + r] * right.data[r * columns + k]
      sum[n * columns + k] += value
    }
  }
}

function addCodebook({ indices, entries, scales }: CodebookPart, sum: Float32Array, rows: number, columns: number): void {
  const [, width = 1] = entries.shape
  const along = Math.ceil(columns / width)
  for (let n = 0; n < rows; n++) {
    const scale = scales?.data[n] ?? 1
    for (let k = 0; k < columns; k++) sum[n * columns + k] += Math.fround(entries.data[indices.data[n * along + Math.floor(k / width)] * width + (k % width)] * scale)
  }
}
