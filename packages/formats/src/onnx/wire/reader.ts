import { BITS32, BITS64, BYTES, END_GROUP, START_GROUP, VARINT } from './schema.js'

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
/** Shorter text is read a byte at a time, which is quicker than a call to the decoder. */
const SHORT = 48

/** Reads what a scan has found sound: it checks nothing. */
export class Reader {
  /** The halves of the last varint, without a sign. */
  low = 0
  high = 0
  readonly #view: DataView

  constructor(
    readonly bytes: Uint8Array<ArrayBuffer>,
    public at: number,
  ) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  /** A varint as a number, exact below 2^53. */
  varint(): number {
    this.integer()
    return this.high * 2 ** 32 + this.low
  }

  /** A varint into {@link low} and {@link high}. */
  integer(): void {
    let low = 0
    let high = 0
    for (let shift = 0; ; shift += 7) {
      const byte = this.bytes[this.at++]
      const bits = byte & 0x7f
      if (shift < 28) low |= bits << shift
      else if (shift === 28) {
        low |= bits << 28
        high |= bits >> 4
      } else high |= bits << (shift - 32)
      if (byte < 0x80) break
    }
    this.low = low >>> 0
    this.high = high >>> 0
  }

  int64(): bigint {
    this.integer()
    return this.high === 0 ? BigInt(this.low) : BigInt.asIntN(64, (BigInt(this.high) << 32n) | BigInt(this.low))
  }

  uint64(): bigint {
    this.integer()
    return this.high === 0 ? BigInt(this.low) : (BigInt(this.high) << 32n) | BigInt(this.low)
  }

  float(): number {
    this.at += 4
    return this.#view.getFloat32(this.at - 4, true)
  }

  double(): number {
    this.at += 8
    return this.#view.getFloat64(this.at - 8, true)
  }

  /** Bytes with their length before them, as a view. */
  span(): Uint8Array<ArrayBuffer> {
    const length = this.varint()
    this.at += length
    return this.bytes.subarray(this.at - length, this.at)
  }

  string(): string {
    const length = this.varint()
    const start = this.at
    this.at += length
    if (length < SHORT) {
      let text = ''
      for (let i = start; i < this.at; i++) {
        const byte = this.bytes[i]
        if (byte > 0x7f) return decoder.decode(this.bytes.subarray(start, this.at))
        text += String.fromCharCode(byte)
      }
      return text
    }
    return decoder.decode(this.bytes.subarray(start, this.at))
  }

  /** Steps over a value of a wire type. */
  skip(wire: number): void {
    if (wire === VARINT) this.integer()
    else if (wire === BITS64) this.at += 8
    else if (wire === BITS32) this.at += 4
    else if (wire === BYTES) {
      const length = this.varint()
      this.at += length
    }
    else this.#skipGroup()
  }

  #skipGroup(): void {
    for (let depth = 1; depth > 0; ) {
      const wire = this.varint() % 8
      if (wire === START_GROUP) depth++
      else if (wire === END_GROUP) depth--
      else this.skip(wire)
    }
  }
}
