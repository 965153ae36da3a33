import { dequantize, dequantizeGrouped, fromBfloat16, fromFloat16, hasDType, LowbitError, type GroupedTensor, type HostTensor, type QTensor } from '@lowbit/core'

/** A weight matrix `[N, K]` with the meaning that its file gives it. */
export type ModelMatrix = QTensor | GroupedTensor | HostTensor<'float32'> | HostTensor<'float16'> | HostTensor<'bfloat16'>

/** Some rows of a matrix whose form is known before they are read. */
export type PieceOfMatrix = Exclude<ModelMatrix, QTensor>

export const isQuantized = (m: ModelMatrix): m is QTensor | GroupedTensor => 'codes' in m

/** The values, float32. */
export function matrixFloats(m: ModelMatrix): HostTensor<'float32'> {
  if ('scheme' in m) return dequantize(m)
  if ('codes' in m) return dequantizeGrouped(m)
  if (hasDType(m, 'float32')) return m
  return { dtype: 'float32', shape: m.shape, data: hasDType(m, 'bfloat16') ? fromBfloat16(m.data) : fromFloat16(m.data) }
}

/** `Q4_K`-like words for what a matrix is: for reports. */
export function describeMatrix(m: ModelMatrix): string {
  if ('scheme' in m) return `${m.scheme.dtype}${m.scheme.granularity.kind === 'group' ? ` group ${m.scheme.granularity.size}` : ` per ${m.scheme.granularity.kind}`}`
  if ('codes' in m) return `codes group ${m.group}${m.minima === undefined ? '' : ' with minima'}${m.levels === undefined ? '' : ` of ${m.levels.length} levels`}`
  return m.dtype
}

/**
 * Rows in another order: row n of the result is row `source(n)`. Scales and minima go with them.
 */
export function reorderRows(m: PieceOfMatrix, source: (row: number) => number): PieceOfMatrix
export function reorderRows(m: ModelMatrix, source: (row: number) => number): ModelMatrix
export function reorderRows(m: ModelMatrix, source: (row: number) => number): ModelMatrix {
  const [rows, columns] = m.shape
  if ('scheme' in m) {
    const { kind } = m.scheme.granularity
    const each = kind === 'tensor' ? undefined : m.params.scales.length / rows
    const { scales, zeroPoints, shape } = m.params
    return {
      ...m,
      codes: moved(m.codes, rows, columns, source),
      params: each === undefined ? m.params : { shape, scales: moved(scales, rows, each, source), ...(zeroPoints === undefined ? {} : { zeroPoints: moved(zeroPoints, rows, each, source) }) },
    }
  }
  if ('codes' in m) {
    const groups = m.scales.length / rows
    return { ...m, codes: moved(m.codes, rows, columns, source), scales: moved(m.scales, rows, groups, source), ...(m.minima === undefined ? {} : { minima: moved(m.minima, rows, groups, source) }) }
  }
  if (hasDType(m, 'float32')) return { ...m, data: moved(m.data, rows, columns, source) }
  return { ...m, data: moved(m.data, rows, columns, source) }
}

type Movable = Float32Array | Int32Array | Int16Array | Uint16Array | Int8Array | Uint8Array

function moved<T extends Movable>(data: T, rows: number, each: number, source: (row: number) => number): T {
  const out = data.slice() as T
  for (let row = 0; row < rows; row++) {
    const from = source(row) * each
    out.set(data.subarray(from, from + each), row * each)
  }
  return out
}

/**
 * Where llama.cpp put the rows of q and k of a Llama: its row `2i + j` of a head is row `i + j · size / 2` of the model, because
 * it rotates neighbours.
 */
export function neighboursToHalves(headSize: number): (row: number) => number {
  const half = headSize / 2
  return (row) => {
    const head = Math.floor(row / headSize)
    const at = row % headSize
    return head * headSize + 2 * (at % half) + Math.floor(at / half)
  }
}

/** The way back: where a model's row stands in such a file. */
export function halvesToNeighbours(headSize: number): (row: number) => number {
  const half = headSize / 2
  return (row) => {
    const head = Math.floor(row / headSize)
    const at = row % headSize
    return head * headSize + (at % 2) * half + Math.floor(at / 2)
  }
}

/** @throws LOWBIT_NONFINITE naming the tensor and the place. */
export function expectFiniteMatrix(m: ModelMatrix, thing: string): void {
  if ('scheme' in m) return expectFinite(m.params.scales, thing, 'scale')
  if ('codes' in m) {
    expectFinite(m.scales, thing, 'scale')
    if (m.minima !== undefined) expectFinite(m.minima, thing, 'minimum')
    return
  }
  if (hasDType(m, 'float32')) return expectFinite(m.data, thing, 'element')
  const exponent = hasDType(m, 'bfloat16') ? 0x7f80 : 0x7c00
  const { data } = m
  for (let i = 0; i < data.length; i++) if ((data[i] & exponent) === exponent) throw nonFinite(thing, 'element', i)
}

/** @throws LOWBIT_NONFINITE. */
export function expectFinite(values: Float32Array, thing: string, what = 'element'): void {
  // A sum is finite only if all its terms are; looking for the first one that is not costs more.
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += values[i]
  if (Number.isFinite(sum)) return
  const at = values.findIndex((v) => !Number.isFinite(v))
  if (at >= 0) throw nonFinite(thing, what, at)
}

function nonFinite(thing: string, what: string, at: number): LowbitError {
  return new LowbitError('LOWBIT_NONFINITE', { thing: `tensor '${thing}'`, found: `${what} ${at} is not finite`, expected: 'finite weights', fix: 'the file is damaged, or the model was saved after its training diverged' })
}
