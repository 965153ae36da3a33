import type { Ops } from '@lowbit/core'
import { matrixFloats, type ModelMatrix } from '../../weights/matrix.js'

/** A matrix that stays as it is: in codes where it has codes. */
export interface FrozenMatrix {
  readonly matrix: ModelMatrix
}

/** `x · wᵀ` for a matrix without a gradient: exact for x, and nothing kept for the matrix but itself. */
export function frozenProduct<T>(ops: Ops<T>, x: T, w: T): T {
  return ops.custom([x], ([v]) => ({ output: ops.matmul(v, w, false, true), saved: [w] }), (dy, [kept]) => [ops.matmul(dy, kept)])
}

/** Values of some rows, without those of the others. */
export function frozenRows(matrix: ModelMatrix, rows: readonly number[]): Float32Array {
  const columns = matrix.shape[1]
  const out = new Float32Array(rows.length * columns)
  const known = new Map<number, Float32Array>()
  rows.forEach((row, at) => {
    let values = known.get(row)
    if (values === undefined) {
      values = matrixFloats(rowOf(matrix, row)).data
      known.set(row, values)
    }
    out.set(values, at * columns)
  })
  return out
}

function rowOf(m: ModelMatrix, row: number): ModelMatrix {
  const [rows, columns] = m.shape
  const cut = <A extends Float32Array | Int32Array | Uint16Array | Int8Array | Uint8Array | Int16Array>(a: A, each: number): A => a.subarray(row * each, (row + 1) * each) as A
  if ('scheme' in m) {
    const { scales, zeroPoints } = m.params
    if (m.scheme.granularity.kind === 'tensor') return { ...m, shape: [1, columns], codes: cut(m.codes, columns) }
    const each = scales.length / rows
    return { ...m, shape: [1, columns], codes: cut(m.codes, columns), params: { scales: cut(scales, each), ...(zeroPoints === undefined ? {} : { zeroPoints: cut(zeroPoints, each) }), shape: [1, ...m.params.shape.slice(1)] } }
  }
  if ('codes' in m) {
    const groups = m.scales.length / rows
    return { ...m, shape: [1, columns], codes: cut(m.codes, columns), scales: cut(m.scales, groups), ...(m.minima === undefined ? {} : { minima: cut(m.minima, groups) }) }
  }
  if (m.dtype === 'float32') return { ...m, shape: [1, columns], data: cut(m.data, columns) }
  return { ...m, shape: [1, columns], data: cut(m.data, columns) }
}
