import { LowbitError } from '@lowbit/core'

/**
 * How an operator's weight lies in the file, and so how it maps to `[N, K]` (rows are output channels):
 * - `NK`: Conv `[N, C/g, kernel…]`, Gemm with transB, embedding tables `[entries, width]`: a plain reshape
 * - `KN`: MatMul and Gemm `[K, N]`: the transpose
 * - `convTranspose`: `[C, N/g, kernel…]`: row n of group g, column c · kernel + offset
 */
export interface Matrix {
  readonly orientation: 'NK' | 'KN' | 'convTranspose'
  readonly rows: number
  readonly columns: number
  readonly groups: number
  /** Kernel size: columns of one input channel. */
  readonly columnsPerChannel: number
  /** The weight as the operator takes it. */
  readonly shape: readonly number[]
}

/** Arrays that weights and their codes lie in. */
export type Numbers = Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer> | Int16Array<ArrayBuffer> | Uint8Array<ArrayBuffer> | Int8Array<ArrayBuffer>

/** Side of the squares in which a transpose walks: both sides of a square stay in the cache. */
const SQUARE = 32

/** `[rows, columns]` to `[columns, rows]`. */
export function transpose<T extends Numbers>(data: T, rows: number, columns: number): T {
  const out = sameKind(data)
  for (let r0 = 0; r0 < rows; r0 += SQUARE) {
    const r1 = Math.min(r0 + SQUARE, rows)
    for (let c0 = 0; c0 < columns; c0 += SQUARE) {
      const c1 = Math.min(c0 + SQUARE, columns)
      for (let c = c0; c < c1; c++) for (let r = r0; r < r1; r++) out[c * rows + r] = data[r * columns + c]
    }
  }
  return out
}

/** The operator's weight as `[N, K]`. The result may be the argument itself. */
export function toRows<T extends Numbers>(data: T, matrix: Matrix): T {
  const { orientation, rows, columns } = matrix
  check(data, matrix)
  if (orientation === 'NK') return data
  if (orientation === 'KN') return transpose(data, columns, rows)
  const out = sameKind(data)
  eachConvTranspose(matrix, (row, file) => (out[row] = data[file]))
  return out
}

/** `[N, K]` as the operator takes it: the reverse of {@link toRows}. */
export function fromRows<T extends Numbers>(data: T, matrix: Matrix): T {
  const { orientation, rows, columns } = matrix
  check(data, matrix)
  if (orientation === 'NK') return data
  if (orientation === 'KN') return transpose(data, rows, columns)
  const out = sameKind(data)
  eachConvTranspose(matrix, (row, file) => (out[file] = data[row]))
  return out
}

function eachConvTranspose({ rows, columns, groups, columnsPerChannel: kernel }: Matrix, move: (row: number, file: number) => void): void {
  const perGroup = rows / groups
  const channels = columns / kernel
  for (let n = 0; n < rows; n++) {
    const group = Math.floor(n / perGroup)
    for (let k = 0; k < columns; k++) {
      const channel = group * channels + Math.floor(k / kernel)
      move(n * columns + k, (channel * perGroup + (n % perGroup)) * kernel + (k % kernel))
    }
  }
}

function sameKind<T extends Numbers>(data: T): T {
  const copy: new (length: number) => Numbers = data.constructor as new (length: number) => T
  return new copy(data.length) as T
}

function check(data: Numbers, { rows, columns }: Matrix): void {
  if (data.length !== rows * columns) throw new LowbitError('LOWBIT_SHAPE', { thing: 'weight', found: `${data.length} elements`, expected: `${rows} × ${columns}` })
}
