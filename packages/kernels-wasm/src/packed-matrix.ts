import { decodeBfloat16, decodeFloat16, type PackedWeights } from '@lowbit/core'
import { BLOCK_ROWS, formatOfFloats, isFloat, jobKind, type Format } from './format.js'
import { tableAt, type CodeSource, type FloatWeights, type Table } from './weights.js'
import type { Heap, Piece } from './memory.js'
import type { KernelExports } from './instance.js'

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

/** Rows of codes that are copied into kernel memory at a time while packing. */
const CHUNK_ROWS = 64

/** @throws LOWBIT_DATA for codes outside their type, LOWBIT_LIMIT */
export function packCodes({ rows, columns, format, codes: from, scales: scaleTable, zeros: zeroTable, outside }: CodeSource, heap: Heap, memory: WebAssembly.Memory, exports: KernelExports): PackedMatrix {
  const blocks = Math.ceil(rows / BLOCK_ROWS)
  const blockBytes = (format.groups * format.group * BLOCK_ROWS * format.kind) / 8
  const pieces: Piece[] = []
  const take = (bytes: number): Piece => {
    const piece = heap.take(bytes)
    pieces.push(piece)
    return piece
  }
  const staging = heap.take(CHUNK_ROWS * columns + 16 + 128)
  try {
    const codes = take(blocks * blockBytes)
    const table = format.groups * blocks * BLOCK_ROWS
    const scales = take(table * 4)
    const zeros = zeroTable === undefined ? undefined : take(table * 4)
    const limits = staging.at + CHUNK_ROWS * columns + 16
    const bytes = new Uint8Array(memory.buffer)
    const source = new Uint8Array(from.buffer, from.byteOffset, from.length)
    new Int8Array(memory.buffer, limits, 16).fill(127)
    new Int8Array(memory.buffer, limits + 16, 16).fill(-128)
    for (let first = 0; first < rows; first += CHUNK_ROWS) {
      const count = Math.min(CHUNK_ROWS, rows - first)
      bytes.set(source.subarray(first * columns, (first + count) * columns), staging.at)
      for (let row = 0; row < count; row += BLOCK_ROWS) {
        exports.packBlock(jobKind(format), staging.at + row * columns, columns, Math.min(BLOCK_ROWS, count - row), columns, format.groupUsed, format.group, format.add, codes.at + ((first + row) / BLOCK_ROWS) * blockBytes, limits, limits + 32)
      }
    }
    if (format.kind !== 8) {
      const least = Math.min(...new Int8Array(memory.buffer, limits, 16))
      const greatest = Math.max(...new Int8Array(memory.buffer, limits + 16, 16))
      if (least < 0 || greatest > format.top) throw outside()
    }
    writeTable(new Float32Array(memory.buffer, scales.at, table), scaleTable, format.groups, rows)
    if (zeros !== undefined && zeroTable !== undefined) writeTable(new Float32Array(memory.buffer, zeros.at, table), zeroTable, format.groups, rows)
    return { format, rows, columns, blocks, blockBytes, codes, scales, zeros }
  } catch (error) {
    for (const piece of pieces) heap.give(piece)
    throw error
  } finally {
    heap.give(staging)
  }
}

/** `[blocks, groups, 8]`; rows that are padding get 0. */
function writeTable(to: Float32Array, table: Table, groups: number, rows: number): void {
  to.fill(0)
  for (let n = 0; n < rows; n++) {
    let at = Math.floor(n / BLOCK_ROWS) * groups * BLOCK_ROWS + (n % BLOCK_ROWS)
    for (let g = 0; g < groups; g++, at += BLOCK_ROWS) to[at] = tableAt(table, groups, n, g)
  }
}

/** @throws LOWBIT_LIMIT */
export function packFloats(w: FloatWeights, heap: Heap, memory: WebAssembly.Memory): PackedMatrix {
  const [rows = 0, columns = 0] = w.shape
  const blocks = Math.ceil(rows / BLOCK_ROWS)
  const bytes = w.dtype === 'float32' ? 4 : 2
  const blockBytes = columns * BLOCK_ROWS * bytes
  const codes = heap.take(blocks * blockBytes)
  const count = blocks * columns * BLOCK_ROWS
  const to = bytes === 4 ? new Float32Array(memory.buffer, codes.at, count) : new Uint16Array(memory.buffer, codes.at, count)
  for (let n = 0; n < blocks * BLOCK_ROWS; n++) {
    let at = Math.floor(n / BLOCK_ROWS) * columns * BLOCK_ROWS + (n % BLOCK_ROWS)
    for (let k = 0; k < columns; k++, at += BLOCK_ROWS) to[at] = n < rows ? (w.data[n * columns + k] ?? 0) : 0
  }
  const format = formatOfFloats(w.dtype === 'float32' ? 32 : w.dtype === 'float16' ? 16 : 17)
  return { format, rows, columns, blocks, blockBytes, codes, scales: undefined, zeros: undefined }
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
