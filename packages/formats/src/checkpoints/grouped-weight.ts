import { codeRange, decodeFloat16, encodeFloat16, elementCount, isIntegerCode, LowbitError, NF4, FP4, type CodeType, type QTensor } from '@lowbit/core'

/**
 * The meaning of a packed weight of a checkpoint, a matrix `[N, K]`; in float32, one rounding an operation:
 * `(code - zero) · scale`, or `code · scale + minimum`, or `table[code] · scale`.
 *
 * Groups lie along K: scale of row n and group g is `scales[n · (K / group) + g]`. Where `flat` is set they run over the rows without a break
 * (bitsandbytes): scale of the value at `i = n · K + k` is `scales[floor(i / group)]`.
 */
export interface GroupedWeight {
  readonly shape: readonly [number, number]
  /** Bits a code takes in the checkpoint. */
  readonly bits: number
  /** Values that share a scale; K: one a row. */
  readonly group: number
  /** `[N, K]`, one a byte; unsigned, but for ternary weights (-1, 0, 1). */
  readonly codes: Uint8Array | Int8Array
  readonly scales: Float32Array
  /** One a scale. */
  readonly zeroPoints?: Int32Array
  /** One a scale. */
  readonly minima?: Float32Array
  /** Levels by code: NF4, FP4. */
  readonly table?: Float32Array
  readonly flat?: boolean
  /**
   * Act-order: codes stand in the order in which groups are neighbours, and `columns[j]` is the input that column j belongs to.
   * Absent: in order.
   */
  readonly columns?: Int32Array
}

/** Groups a row. */
export const groupsOf = ({ shape: [, k], group }: Pick<GroupedWeight, 'shape' | 'group'>): number => Math.ceil(k / group)

/** Index of the scale of each value. */
function scaleIndex(w: GroupedWeight): (n: number, k: number) => number {
  const { shape: [, columns], group, flat } = w
  const groups = groupsOf(w)
  return flat === true ? (n, k) => Math.floor((n * columns + k) / group) : (n, k) => n * groups + Math.floor(k / group)
}

/** The values `[N, K]`, inputs in the order of the model. */
export function groupedValues(w: GroupedWeight): Float32Array<ArrayBuffer> {
  const [rows, columns] = w.shape
  const { codes, scales, zeroPoints, minima, table } = w
  const out = new Float32Array(rows * columns)
  const scaleOf = scaleIndex(w)
  for (let n = 0; n < rows; n++) {
    for (let j = 0; j < columns; j++) {
      const g = scaleOf(n, j)
      const code = codes[n * columns + j] as number
      const level = table === undefined ? code - (zeroPoints?.[g] ?? 0) : (table[code] as number)
      const product = Math.fround(level * (scales[g] as number))
      out[n * columns + (w.columns?.[j] ?? j)] = minima === undefined ? product : product + (minima[g] as number)
    }
  }
  return out
}

const UNSIGNED: Readonly<Record<number, CodeType>> = { 2: 'uint2', 3: 'uint3', 4: 'uint4', 5: 'uint8', 6: 'uint8', 8: 'uint8' }

/**
 * The same as codes with scales and zero points: what kernels and layouts take. Columns stay in the order of `columns`.
 * Minima become float zero points, `-minimum / scale`, rounded to float32.
 * @throws LOWBIT_UNSUPPORTED where groups run across rows, or a table is neither NF4 nor FP4.
 */
export function groupedToQTensor(w: GroupedWeight): QTensor {
  const [rows, columns] = w.shape
  if (w.flat === true && columns % w.group !== 0) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `weight [${rows}, ${columns}]`, found: `groups of ${w.group} that run across rows`, expected: 'rows of whole groups', fix: 'read its values instead' })
  const granularity = w.group === columns ? ({ kind: 'channel', axis: 0 } as const) : ({ kind: 'group', axis: 1, size: w.group } as const)
  const shape = [rows, columns]
  const grid = w.group === columns ? [rows] : [rows, groupsOf(w)]
  if (w.table !== undefined) return { scheme: { dtype: tableType(w.table), granularity, symmetric: true }, shape, codes: w.codes, params: { scales: w.scales, shape: grid } }
  if (w.codes instanceof Int8Array) return { scheme: { dtype: 'ternary', granularity, symmetric: true }, shape, codes: w.codes, params: { scales: w.scales, shape: grid } }
  const dtype = UNSIGNED[w.bits]
  if (dtype === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `weight [${rows}, ${columns}]`, found: `${w.bits} bits`, expected: '2, 3, 4, 5, 6 or 8' })
  if (w.minima !== undefined) {
    const { minima, scales } = w
    return { scheme: { dtype, granularity, symmetric: false, zeroPoint: 'float' }, shape, codes: w.codes, params: { scales, zeroPoints: Float32Array.from(minima, (minimum, g) => (scales[g] === 0 ? 0 : -minimum / (scales[g] as number))), shape: grid } }
  }
  return { scheme: { dtype, granularity, symmetric: false }, shape, codes: w.codes, params: { scales: w.scales, zeroPoints: w.zeroPoints ?? new Int32Array(w.scales.length), shape: grid } }
}

function tableType(table: Float32Array): CodeType {
  const same = (other: Float32Array): boolean => other.every((level, code) => level === table[code])
  if (same(NF4)) return 'nf4'
  if (same(FP4)) return 'fp4'
  throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'quant_map', found: 'levels of its own', expected: 'those of nf4 or fp4', fix: 'read its values instead' })
}

/**
 * A quantized tensor as a weight to be packed: integer codes become unsigned, with zero points.
 * @throws LOWBIT_UNSUPPORTED for other codes or granules, LOWBIT_SHAPE for what is no matrix.
 */
export function groupedFromQTensor(q: QTensor): GroupedWeight {
  const { dtype, granularity, symmetric } = q.scheme
  const [rows, columns] = q.shape
  if (q.shape.length !== 2 || rows === undefined || columns === undefined) throw new LowbitError('LOWBIT_SHAPE', { thing: 'weight', found: `[${q.shape.join(', ')}]`, expected: 'a matrix [N, K]' })
  const group = granularity.kind === 'group' && granularity.axis === 1 ? granularity.size : granularity.kind === 'channel' && granularity.axis === 0 ? columns : undefined
  if (!isIntegerCode(dtype) || group === undefined || dtype === 'ternary' || dtype === 'binary') throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'weight', found: `${dtype}, one scale a ${granularity.kind}`, expected: 'integer codes with one scale a row or a group along K' })
  const { min, max } = codeRange(dtype)
  const bits = Math.round(Math.log2(max - min + 1))
  const middle = symmetric && q.params.zeroPoints === undefined ? (min < 0 ? 0 : (max + 1) / 2) : 0
  const zeros = Array.from(q.params.scales, (_, g) => (q.params.zeroPoints?.[g] ?? middle) - min)
  const codes = Uint8Array.from(q.codes, (code) => code - min)
  elementCount(q.shape)
  const base = { shape: [rows, columns] as const, bits, group, codes, scales: q.params.scales }
  return zeros.every(Number.isInteger) ? { ...base, zeroPoints: Int32Array.from(zeros) } : { ...base, minima: Float32Array.from(zeros, (zero, g) => -zero * (q.params.scales[g] as number)) }
}

/** Scales as float16 bits. @throws LOWBIT_UNSUPPORTED for a scale that is no float16 value: it would change the weights without a word. */
export function exactHalves(scales: Float32Array, thing: string): Uint16Array<ArrayBuffer> {
  return Uint16Array.from(scales, (scale) => {
    const bits = encodeFloat16(scale)
    if (decodeFloat16(bits) !== scale) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `a scale of ${scale}`, expected: 'float16 values', fix: 'quantize with float16 scales, or round them first' })
    return bits
  })
}
