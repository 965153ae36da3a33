import { checkGroupedTensor, LowbitError, type GroupedTensor, type PackedWeights, type RowForm, type RowPacker } from '@lowbit/core'
import { BLOCK_ROWS, formatOfFloats, formatOfGrouped, jobKind, type Dots, type Format } from './format.js'
import type { KernelExports } from './instance.js'
import type { Heap, Piece } from './memory.js'
import { WasmWeights, type PackedMatrix } from './packed-matrix.js'
import { checkFloatWeights, isGrouped, plainCodes, tableAt, type FloatWeights, type Table } from './weights.js'

/** What packing works with. */
export interface PackEngine {
  readonly heap: Heap
  readonly memory: WebAssembly.Memory
  readonly exports: KernelExports
}

/** Some rows of codes as they come. */
export interface CodeRows {
  readonly codes: Int8Array | Uint8Array
  readonly scales: Table
  readonly zeros: Table | undefined
}

/** Rows of codes that lie in kernel memory at a time before they are packed. */
const CHUNK_ROWS = 64

/** Room that comes back unless it is kept. */
class Rooms {
  readonly #heap: Heap
  #pieces: Piece[] = []
  constructor(heap: Heap) {
    this.#heap = heap
  }
  take(bytes: number): Piece {
    const piece = this.#heap.take(bytes)
    this.#pieces.push(piece)
    return piece
  }
  keep(): void {
    this.#pieces = []
  }
  give(): void {
    for (const piece of this.#pieces) this.#heap.give(piece)
    this.keep()
  }
}

/** Brings rows of codes into blocks of eight, in whatever portions they come. */
export class CodePacker {
  readonly #engine: PackEngine
  readonly #matrix: PackedMatrix
  readonly #rooms: Rooms
  readonly #staging: Piece
  readonly #outside: () => LowbitError
  /** Rows that have come, and those of them that wait in the staging room. */
  #rows = 0
  #waiting = 0

  /** @throws LOWBIT_LIMIT */
  constructor(rows: number, columns: number, format: Format, hasZeros: boolean, outside: () => LowbitError, engine: PackEngine) {
    this.#engine = engine
    this.#outside = outside
    this.#rooms = new Rooms(engine.heap)
    const blocks = Math.ceil(rows / BLOCK_ROWS)
    const blockBytes = (format.groups * format.group * BLOCK_ROWS * format.kind) / 8
    const table = format.groups * blocks * BLOCK_ROWS * 4
    const staging = engine.heap.take(CHUNK_ROWS * columns + 16 + 128)
    try {
      this.#matrix = { format, rows, columns, blocks, blockBytes, codes: this.#rooms.take(blocks * blockBytes), scales: this.#rooms.take(table), zeros: hasZeros ? this.#rooms.take(table) : undefined }
    } catch (error) {
      this.#rooms.give()
      engine.heap.give(staging)
      throw error
    }
    this.#staging = staging
    const { buffer } = engine.memory
    // rows that are padding multiply by 0
    const last = format.groups * BLOCK_ROWS * 4
    for (const piece of [this.#matrix.scales, this.#matrix.zeros]) if (piece !== undefined) new Uint8Array(buffer, piece.at + table - last, last).fill(0)
    new Int8Array(buffer, this.#limits, 16).fill(127)
    new Int8Array(buffer, this.#limits + 16, 16).fill(-128)
  }

  get rows(): number {
    return this.#rows
  }

  /** `count` more rows. */
  add({ codes, scales, zeros }: CodeRows, count: number): void {
    const { columns, format } = this.#matrix
    const source = new Uint8Array(codes.buffer, codes.byteOffset, codes.length)
    const { buffer } = this.#engine.memory
    const bytes = new Uint8Array(buffer)
    for (let from = 0; from < count; ) {
      const taken = Math.min(CHUNK_ROWS - this.#waiting, count - from)
      bytes.set(source.subarray(from * columns, (from + taken) * columns), this.#staging.at + this.#waiting * columns)
      this.#waiting += taken
      from += taken
      if (this.#waiting === CHUNK_ROWS) this.#pack(this.#rows + from)
    }
    for (const [piece, table] of [[this.#matrix.scales, scales], [this.#matrix.zeros, zeros]] as const) {
      if (piece !== undefined && table !== undefined) writeTable(new Float32Array(buffer, piece.at, piece.size / 4), table, format.groups, this.#rows, count)
    }
    this.#rows += count
  }

  /** @throws LOWBIT_DATA for codes that were outside their range */
  finish(): PackedMatrix {
    if (this.#waiting > 0) this.#pack(this.#rows)
    const { format } = this.#matrix
    const { buffer } = this.#engine.memory
    const isFull = format.kind === 8 && !(format.dot === 'unsigned' && format.top < 128)
    if (!isFull && (Math.min(...new Int8Array(buffer, this.#limits, 16)) < 0 || Math.max(...new Int8Array(buffer, this.#limits + 16, 16)) > format.top)) throw this.#outside()
    this.#rooms.keep()
    return this.#matrix
  }

  /** Gives back what is not kept by {@link finish}. */
  close(): void {
    this.#rooms.give()
    this.#engine.heap.give(this.#staging)
  }

  get #limits(): number {
    return this.#staging.at + CHUNK_ROWS * this.#matrix.columns + 16
  }

  /** What waits, whose last row is the one before `end`. */
  #pack(end: number): void {
    const { format, columns, codes, blockBytes } = this.#matrix
    const first = end - this.#waiting
    for (let row = 0; row < this.#waiting; row += BLOCK_ROWS) {
      this.#engine.exports.packBlock(jobKind(format), this.#staging.at + row * columns, columns, Math.min(BLOCK_ROWS, this.#waiting - row), columns, format.groupUsed, format.group, format.add, codes.at + ((first + row) / BLOCK_ROWS) * blockBytes, this.#limits, this.#limits + 32)
    }
    this.#waiting = 0
  }
}

/** `[blocks, groups, 8]`, rows from `first` on. */
function writeTable(to: Float32Array, table: Table, groups: number, first: number, rows: number): void {
  for (let n = 0; n < rows; n++) {
    let at = ((first + n) >> 3) * groups * BLOCK_ROWS + ((first + n) & 7)
    for (let g = 0; g < groups; g++, at += BLOCK_ROWS) to[at] = tableAt(table, groups, n, g)
  }
}

/** Brings rows of floats into blocks of eight. */
export class FloatPacker {
  readonly #memory: WebAssembly.Memory
  readonly #matrix: PackedMatrix
  readonly #rooms: Rooms
  #rows = 0

  /** @throws LOWBIT_LIMIT */
  constructor(rows: number, columns: number, dtype: FloatWeights['dtype'], { heap, memory }: PackEngine) {
    this.#memory = memory
    this.#rooms = new Rooms(heap)
    const format = formatOfFloats(dtype === 'float32' ? 32 : dtype === 'float16' ? 16 : 17)
    const blocks = Math.ceil(rows / BLOCK_ROWS)
    const blockBytes = columns * BLOCK_ROWS * (dtype === 'float32' ? 4 : 2)
    this.#matrix = { format, rows, columns, blocks, blockBytes, codes: this.#rooms.take(blocks * blockBytes), scales: undefined, zeros: undefined }
    new Uint8Array(memory.buffer, this.#matrix.codes.at + (blocks - 1) * blockBytes, blockBytes).fill(0)
  }

  get rows(): number {
    return this.#rows
  }

  add(data: Float32Array | Uint16Array, count: number): void {
    const { columns, format, codes } = this.#matrix
    const to = format.kind === 32 ? new Float32Array(this.#memory.buffer, codes.at, codes.size / 4) : new Uint16Array(this.#memory.buffer, codes.at, codes.size / 2)
    for (let n = 0, from = 0; n < count; n++) {
      const row = this.#rows + n
      let at = (row >> 3) * columns * BLOCK_ROWS + (row & 7)
      for (let k = 0; k < columns; k++, from++, at += BLOCK_ROWS) to[at] = data[from] ?? 0
    }
    this.#rows += count
  }

  finish(): PackedMatrix {
    this.#rooms.keep()
    return this.#matrix
  }

  close(): void {
    this.#rooms.give()
  }
}

const THING = 'rows for the kernels'

/** {@link RowPacker} over either. */
export class WasmRowPacker implements RowPacker {
  readonly #shape: readonly [number, number]
  readonly #form: RowForm
  readonly #engine: PackEngine
  #packer: CodePacker | FloatPacker | undefined

  /** @throws LOWBIT_SHAPE, LOWBIT_LIMIT */
  constructor(shape: readonly [number, number], form: RowForm, dots: Dots, engine: PackEngine) {
    this.#shape = shape
    this.#form = form
    this.#engine = engine
    const [rows, columns] = shape
    if (![rows, columns].every((size) => Number.isInteger(size) && size > 0)) throw new LowbitError('LOWBIT_SHAPE', { thing: THING, found: `shape [${shape.join(', ')}]`, expected: 'a matrix [N, K], neither of them 0' })
    if ('dtype' in form) {
      this.#packer = new FloatPacker(rows, columns, form.dtype, engine)
      return
    }
    const [low, high] = form.range
    const outside = (): LowbitError => new LowbitError('LOWBIT_DATA', { thing: THING, found: 'a level outside the range that was given', expected: `${low} to ${high}` })
    this.#packer = new CodePacker(rows, columns, formatOfGrouped(low, high, form.group, columns, form.minima, dots), form.minima, outside, engine)
  }

  add(rows: GroupedTensor | FloatWeights): void {
    const packer = this.#open()
    const [count = 0, columns] = rows.shape
    const form = this.#form
    const fits = isGrouped(rows) ? !('dtype' in form) && rows.group === form.group && (rows.minima !== undefined) === form.minima : 'dtype' in form && rows.dtype === form.dtype
    if (columns !== this.#shape[1] || packer.rows + count > this.#shape[0] || !fits) {
      throw new LowbitError('LOWBIT_SHAPE', { thing: THING, found: `${count} rows of ${columns} ${isGrouped(rows) ? `codes in groups of ${rows.group}` : rows.dtype} after ${packer.rows}`, expected: `[${this.#shape.join(', ')}] of ${'dtype' in form ? form.dtype : `codes in groups of ${form.group}${form.minima ? ' with minima' : ''}`}` })
    }
    if (!isGrouped(rows)) {
      checkFloatWeights(rows)
      if (packer instanceof FloatPacker) packer.add(rows.data, count)
      return
    }
    checkGroupedTensor(rows, THING)
    const { minima } = rows
    if (packer instanceof CodePacker) packer.add({ codes: plainCodes(rows), scales: { values: rows.scales, shared: 'none' }, zeros: minima === undefined ? undefined : { values: minima, shared: 'none' } }, count)
  }

  finish(): PackedWeights {
    const packer = this.#open()
    if (packer.rows !== this.#shape[0]) throw new LowbitError('LOWBIT_SHAPE', { thing: THING, found: `${packer.rows} rows`, expected: `${this.#shape[0]}` })
    const matrix = packer.finish()
    this.dispose()
    return new WasmWeights(matrix, this.#engine.heap)
  }

  dispose(): void {
    this.#packer?.close()
    this.#packer = undefined
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #open(): CodePacker | FloatPacker {
    if (this.#packer === undefined) throw new LowbitError('LOWBIT_DISPOSED', { thing: THING, found: 'used after finish() or dispose()' })
    return this.#packer
  }
}
