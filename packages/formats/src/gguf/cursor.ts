import { LowbitError } from '@lowbit/core'

/** The bytes at hand end, but the file does not: more of it must be read. Never leaves this folder. */
export class NeedMore extends Error {
  readonly until: number

  constructor(until: number) {
    super('more bytes')
    this.until = until
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Reads numbers and texts of the head of a file, checking each against the end of the file before anything is made. */
export class Cursor {
  at = 0
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #size: number
  readonly #little: boolean
  readonly #thing: string

  /** @param bytes The head of the file. @param size Bytes of the whole file. */
  constructor(bytes: Uint8Array, size: number, little: boolean, thing: string) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    this.#size = size
    this.#little = little
    this.#thing = thing
  }

  /** Moves over `length` bytes and gives where they start. */
  take(length: number, what: string): number {
    const from = this.at
    if (length > this.#size - from) throw new LowbitError('LOWBIT_FORMAT', { thing: this.#thing, found: `${what} of ${length} bytes at ${from} in a file of ${this.#size}`, expected: 'a whole GGUF file', fix: 'it may be cut short: download it again' })
    if (from + length > this.#bytes.length) throw new NeedMore(from + length)
    this.at = from + length
    return from
  }

  /** Throws unless `count` things of at least `each` bytes can still follow. */
  expectRoom(count: number, each: number, what: string): void {
    if (count * each > this.#size - this.at) throw new LowbitError('LOWBIT_FORMAT', { thing: this.#thing, found: `${count} ${what} with ${this.#size - this.at} bytes left`, expected: 'a whole GGUF file' })
  }

  u8 = (): number => this.#view.getUint8(this.take(1, 'a number'))
  i8 = (): number => this.#view.getInt8(this.take(1, 'a number'))
  u16 = (): number => this.#view.getUint16(this.take(2, 'a number'), this.#little)
  i16 = (): number => this.#view.getInt16(this.take(2, 'a number'), this.#little)
  u32 = (): number => this.#view.getUint32(this.take(4, 'a number'), this.#little)
  i32 = (): number => this.#view.getInt32(this.take(4, 'a number'), this.#little)
  f32 = (): number => this.#view.getFloat32(this.take(4, 'a number'), this.#little)
  f64 = (): number => this.#view.getFloat64(this.take(8, 'a number'), this.#little)
  u64 = (): bigint => this.#view.getBigUint64(this.take(8, 'a number'), this.#little)
  i64 = (): bigint => this.#view.getBigInt64(this.take(8, 'a number'), this.#little)

  /** A count or size: 64 bits in the file, at most 2^53 here. */
  size(what: string): number {
    const value = this.u64()
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new LowbitError('LOWBIT_FORMAT', { thing: this.#thing, found: `${what} of ${value}`, expected: 'a whole GGUF file' })
    return Number(value)
  }

  text(what: string, most = Infinity): string {
    const length = this.size(what)
    if (length > most) throw new LowbitError('LOWBIT_FORMAT', { thing: this.#thing, found: `${what} of ${length} bytes`, expected: `at most ${most}` })
    const from = this.take(length, what)
    try {
      return UTF8.decode(this.#bytes.subarray(from, from + length))
    } catch (cause) {
      throw new LowbitError('LOWBIT_FORMAT', { thing: this.#thing, found: `${what} at ${from} that is no UTF-8`, expected: 'a GGUF file', cause })
    }
  }

  /** Bytes as they stand, as a copy. */
  raw(length: number, what: string): Uint8Array<ArrayBuffer> {
    const from = this.take(length, what)
    return new Uint8Array(this.#bytes.subarray(from, from + length))
  }
}
