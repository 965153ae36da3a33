import { LowbitError, type Slices } from '@lowbit/core'
import { PRODUCTS } from './generated/linalg.js'

/** A matrix inside an array, seen with its rows along either axis. */
export interface Operand {
  readonly data: Float64Array
  readonly offset: number
  /** Elements from one row to the next, and from one column to the next. */
  readonly row: number
  readonly column: number
}

interface ProductExports {
  products(a: number, b: number, c: number, rowTiles: number, columnTiles: number, depth: number, limit: number): void
}

/** Sides of what is multiplied at once: the panels stay in second-level cache. All are whole tiles. */
const ROWS = 512
const COLUMNS = 128
const DEPTH = 256
const TILE = 4
const PAGE = 65536
/** Below it the module keeps its stack and constants. */
const START = 1024

/**
 * Matrix products in WebAssembly SIMD over a small memory of its own: operands are copied in as panels, so that matrices of any
 * size and layout can be multiplied where they lie.
 */
export class PanelProducts {
  readonly #exports: ProductExports
  readonly #a: Float64Array
  readonly #b: Float64Array
  readonly #c: Float64Array
  /** Which product the rows in the first panel belong to: products that are under way together share the panels. */
  #packed: object | undefined

  /** @throws LOWBIT_UNSUPPORTED without WebAssembly SIMD, or where the process may have no more memory */
  constructor() {
    const bytes = Uint8Array.from(atob(PRODUCTS), (c) => c.charCodeAt(0))
    if (typeof WebAssembly === 'undefined' || !WebAssembly.validate(bytes)) {
      throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'linear algebra in WebAssembly', found: 'an engine without WebAssembly SIMD', fix: 'use fastLinAlg of core' })
    }
    const elements = [ROWS * DEPTH, COLUMNS * DEPTH, ROWS * COLUMNS]
    const memory = smallMemory(Math.ceil((START + elements.reduce((a, b) => a + b) * 8) / PAGE))
    this.#exports = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } }).exports as object as ProductExports
    this.#a = new Float64Array(memory.buffer, START, ROWS * DEPTH)
    this.#b = new Float64Array(memory.buffer, START + this.#a.byteLength, COLUMNS * DEPTH)
    this.#c = new Float64Array(memory.buffer, this.#b.byteOffset + this.#b.byteLength, ROWS * COLUMNS)
  }

  /**
   * `out[i, j] += sign · Σ_k a[i, k] · b[j, k]`, a panel at a time. With `upperOnly`, entries with `j < i` may or may not be written.
   * @param out - row major: `column` is 1
   */
  *add(out: Operand, a: Operand, b: Operand, m: number, n: number, depth: number, sign: 1 | -1, upperOnly = false): Slices<void> {
    const me = {}
    for (let k = 0; k < depth; k += DEPTH) {
      const deep = Math.min(DEPTH, depth - k)
      for (let i = 0; i < m; i += ROWS) {
        const rows = Math.min(ROWS, m - i)
        this.#packed = undefined
        for (let j = 0; j < n; j += COLUMNS) {
          const columns = Math.min(COLUMNS, n - j)
          if (upperOnly && j + columns <= i) continue
          if (this.#packed !== me) pack(this.#a, a, i, rows, k, deep)
          this.#packed = me
          pack(this.#b, b, j, columns, k, deep)
          // A block of columns begins at or behind the block of rows it meets: ROWS is a multiple of COLUMNS.
          const limit = upperOnly ? (j - i) / TILE + 1 : -1
          const [rowTiles, columnTiles] = [Math.ceil(rows / TILE), Math.ceil(columns / TILE)]
          this.#exports.products(this.#a.byteOffset, this.#b.byteOffset, this.#c.byteOffset, rowTiles, columnTiles, deep, limit)
          this.#unpack(out, i, j, rows, columns, sign, limit)
          yield
        }
      }
    }
  }

  #unpack({ data, offset, row }: Operand, i0: number, j0: number, rows: number, columns: number, sign: 1 | -1, limit: number): void {
    const c = this.#c
    const rowTiles = Math.ceil(rows / TILE)
    for (let j = 0; j < columns; j += TILE) {
      const wanted = limit < 0 ? rowTiles : Math.min(rowTiles, limit + j / TILE)
      const width = Math.min(TILE, columns - j)
      for (let t = 0; t < wanted; t++) {
        let from = (j / TILE) * rowTiles * 16 + t * 16
        const height = Math.min(TILE, rows - t * TILE)
        let to = offset + (i0 + t * TILE) * row + j0 + j
        for (let r = 0; r < height; r++, from += TILE, to += row) {
          if (width === TILE) {
            data[to] += sign * c[from]
            data[to + 1] += sign * c[from + 1]
            data[to + 2] += sign * c[from + 2]
            data[to + 3] += sign * c[from + 3]
          } else for (let q = 0; q < width; q++) data[to + q] += sign * c[from + q]
        }
      }
    }
  }
}

/**
 * A memory of a fixed size. Engines set address space aside up to the maximum, or as much as an address can reach where none is
 * given: a process with little of it gets none at all.
 */
function smallMemory(pages: number): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages })
  } catch (cause) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'linear algebra in WebAssembly', found: `no memory of ${pages * 64} KiB: the process may have no more address space`, fix: 'use fastLinAlg of core', cause })
  }
}

/** Rows `[first, first + count)` of a matrix as tiles `[depth][4]`, rows that are missing as zeros. */
function pack(panel: Float64Array, { data, offset, row, column }: Operand, first: number, count: number, k0: number, depth: number): void {
  let to = 0
  for (let t = 0; t < count; t += TILE) {
    const from = offset + (first + t) * row + k0 * column
    const height = Math.min(TILE, count - t)
    if (height === TILE) {
      let p0 = from
      let p1 = p0 + row
      let p2 = p1 + row
      let p3 = p2 + row
      for (let k = 0; k < depth; k++, to += TILE) {
        panel[to] = data[p0]
        panel[to + 1] = data[p1]
        panel[to + 2] = data[p2]
        panel[to + 3] = data[p3]
        p0 += column
        p1 += column
        p2 += column
        p3 += column
      }
    } else {
      for (let k = 0; k < depth; k++, to += TILE) for (let r = 0; r < TILE; r++) panel[to + r] = r < height ? data[from + r * row + k * column] : 0
    }
  }
}
