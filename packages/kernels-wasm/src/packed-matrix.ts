import { decodeBfloat16, decodeFloat16, type PackedWeights } from '@lowbit/core'
import { BLOCK_ROWS, isFloat, type Format } from './format.js'
import type { Heap, Piece } from './memory.js'

/** A matrix in a kernel's memory. */
export interface PackedMatrix {
  readonly format: Format
  readonly rows: number
  readonly columns: number
  readonly blocks: number
  readonly blockBytes: number
  readonly codes: Piece
  readonly scales: Piece | undefined
  readonly zeros: Piece | undefined
}

/** Handle of a {@link PackedMatrix}. */
export class WasmWeights implements PackedWeights {
  readonly rows: number
  readonly columns: number
  readonly bytes: number
  #matrix: PackedMatrix | undefined
  readonly #heap: Heap

  constructor(matrix: PackedMatrix, heap: Heap) {
    this.rows = matrix.rows
    this.columns = matrix.columns
    this.bytes = matrix.codes.size + (matrix.scales?.size ?? 0) + (matrix.zeros?.size ?? 0)
    this.#matrix = matrix
    this.#heap = heap
  }

  /** The matrix, if this handle is of that heap and alive. */
  matrixIn(heap: Heap): PackedMatrix | undefined {
    return heap === this.#heap ? this.#matrix : undefined
  }

  dispose(): void {
    const matrix = this.#matrix
    this.#matrix = undefined
    if (matrix === undefined) return
    for (const piece of [matrix.codes, matrix.scales, matrix.zeros]) if (piece !== undefined) this.#heap.give(piece)
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** Values of a packed matrix: `fl(fl(stored − offset + zero) · scale)`, or `fl(fl((stored − offset) · scale) + minimum)`. */
export function unpackValues(matrix: PackedMatrix, memory: WebAssembly.Memory): Float32Array<ArrayBuffer> {
  const { format, rows, columns } = matrix
  const out = new Float32Array(rows * columns)
  const floats = new Float32Array(memory.buffer)
  const halves = new Uint16Array(memory.buffer)
  const bytes = new Uint8Array(memory.buffer)
  for (let n = 0; n < rows; n++) {
    const block = Math.floor(n / BLOCK_ROWS)
    const r = n % BLOCK_ROWS
    const base = matrix.codes.at + block * matrix.blockBytes
    for (let k = 0; k < columns; k++) {
      if (isFloat(format)) {
        const at = k * BLOCK_ROWS + r
        out[n * columns + k] = format.kind === 32 ? (floats[base / 4 + at] ?? 0) : (format.kind === 16 ? decodeFloat16 : decodeBfloat16)(halves[base / 2 + at] ?? 0)
        continue
      }
      const g = Math.floor(k / format.groupUsed)
      const stored = storedCode(format, bytes, base, r, g * format.group + (k - g * format.groupUsed))
      const table = (block * format.groups + g) * BLOCK_ROWS + r
      const zero = matrix.zeros === undefined ? 0 : (floats[matrix.zeros.at / 4 + table] ?? 0)
      const scale = floats[(matrix.scales?.at ?? 0) / 4 + table] ?? 0
      out[n * columns + k] = format.minima ? Math.fround((stored - format.offset) * scale) + zero : Math.fround(stored - format.offset + zero) * scale
    }
  }
  return out
}

/** The stored code of row `r` of a block at padded column `k`: where each kind keeps it. */
function storedCode({ kind, dot }: Format, bytes: Uint8Array, base: number, r: number, k: number): number {
  const half = (r >> 2) * 16
  const lane = (r & 3) * 4 + (k & 3)
  if (kind === 4) return ((bytes[base + (k >> 3) * 32 + half + lane] ?? 0) >> (k & 4)) & 15
  if (kind === 2) return ((bytes[base + (k >> 4) * 32 + half + lane] ?? 0) >> (((k >> 2) & 3) * 2)) & 3
  if (dot !== undefined) {
    const byte = bytes[base + (k >> 2) * 32 + half + lane] ?? 0
    return dot === 'unsigned' ? byte : (byte << 24) >> 24
  }
  // of four codes, 0 and 2 come before 1 and 3
  return ((bytes[base + (k >> 2) * 32 + half + (k & 1) * 8 + (r & 3) * 2 + ((k & 2) >> 1)] ?? 0) << 24) >> 24
}
