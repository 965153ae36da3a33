import { LowbitError } from '@lowbit/core'

const PAGE = 65536
/** Pages that memory grows by beyond what is asked for: each growth costs a millisecond, and pages cost nothing before they are written. 64 MiB. */
const MOST_AHEAD = 1024
/** Every piece begins on a cache line. */
const ALIGN = 64

/** A piece of memory on loan. */
interface Piece {
  readonly at: number
  readonly size: number
}

/**
 * Hands out pieces of a WebAssembly memory: first fit, neighbours joined when they come back.
 * A piece holds whatever its last owner left there.
 */
export class Heap {
  readonly #memory: WebAssembly.Memory
  /** Free pieces, by address. */
  #free: Piece[] = []
  /** Where memory that was never handed out begins. */
  #top: number

  constructor(memory: WebAssembly.Memory, start: number) {
    this.#memory = memory
    this.#top = Math.ceil(start / ALIGN) * ALIGN
  }

  /**
   * @param what for the error: what the memory is for
   * @throws LOWBIT_LIMIT if the memory cannot grow that far.
   */
  take(bytes: number, what = 'weights'): Piece {
    const size = Math.max(ALIGN, Math.ceil(bytes / ALIGN) * ALIGN)
    const index = this.#free.findIndex((piece) => piece.size >= size)
    const found = this.#free[index]
    if (found !== undefined) {
      if (found.size === size) this.#free.splice(index, 1)
      else this.#free[index] = { at: found.at + size, size: found.size - size }
      return { at: found.at, size }
    }
    const piece = { at: this.#top, size }
    const missing = this.#top + size - this.#memory.buffer.byteLength
    if (missing > 0) this.#grow(missing, size, what)
    this.#top += size
    return piece
  }

  give(piece: Piece): void {
    let at = this.#free.findIndex((other) => other.at > piece.at)
    if (at < 0) at = this.#free.length
    this.#free.splice(at, 0, piece)
    this.#join(at)
    this.#join(at - 1)
    const last = this.#free[this.#free.length - 1]
    if (last !== undefined && last.at + last.size === this.#top) {
      this.#top = last.at
      this.#free.pop()
    }
  }

  #join(at: number): void {
    const left = this.#free[at]
    const right = this.#free[at + 1]
    if (left === undefined || right === undefined || left.at + left.size !== right.at) return
    this.#free.splice(at, 2, { at: left.at, size: left.size + right.size })
  }

  #grow(missing: number, wanted: number, what: string): void {
    const pages = Math.ceil(missing / PAGE)
    const ahead = Math.min(Math.ceil(this.#memory.buffer.byteLength / PAGE / 2), MOST_AHEAD)
    try {
      this.#memory.grow(Math.max(pages, ahead))
      return
    } catch {
      // as much as is needed may still fit
    }
    try {
      this.#memory.grow(pages)
    } catch (cause) {
      throw new LowbitError('LOWBIT_LIMIT', { thing: 'kernel memory', found: `${this.#memory.buffer.byteLength} bytes in use and ${wanted} more asked for, for ${what}`, expected: 'less than 4 GiB in all (2 GiB in some engines)', fix: 'dispose of weights that are no longer used, or make a second provider', cause })
    }
  }
}

export type { Piece }
