import { LowbitError } from '@lowbit/core'

/** A node of a double array: offset to its children, label, whether it has a leaf, value. Bit layout of the Darts-clone library. */
const offsetOf = (unit: number): number => (unit >>> 10) << ((unit & (1 << 9)) >>> 6)
const labelOf = (unit: number): number => unit & ((1 << 31) | 0xff)
const hasLeaf = (unit: number): boolean => ((unit >>> 8) & 1) === 1
const valueOf = (unit: number): number => unit & 0x7fffffff

/** The character map of sentencepiece (`precompiled_charsmap`): longest prefixes of UTF-8 are replaced by texts. */
export class CharacterMap {
  readonly #units: Uint32Array
  readonly #texts: Uint8Array

  /** @throws LOWBIT_FORMAT if the parts do not fit the bytes. */
  constructor(bytes: Uint8Array, thing: string) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    const length = bytes.length < 4 ? 0 : view.getUint32(0, true)
    if (length === 0 || length % 4 !== 0 || length > bytes.length - 4) throw new LowbitError('LOWBIT_FORMAT', { thing, found: `a trie of ${length} bytes in ${bytes.length}`, expected: 'a trie and texts' })
    this.#units = Uint32Array.from({ length: length / 4 }, (_, i) => view.getUint32(4 + 4 * i, true))
    this.#texts = bytes.subarray(4 + length)
  }

  normalize(text: string): string {
    const input = new TextEncoder().encode(text)
    const out: number[] = []
    for (let at = 0; at < input.length; ) {
      const found = this.#longest(input, at)
      if (found === undefined) {
        const end = at + utf8Length(input[at] as number)
        while (at < end && at < input.length) out.push(input[at++] as number)
        continue
      }
      for (let i = found.value; i < this.#texts.length && this.#texts[i] !== 0; i++) out.push(this.#texts[i] as number)
      at += found.length
    }
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(out))
  }

  #longest(input: Uint8Array, from: number): { readonly value: number; readonly length: number } | undefined {
    const units = this.#units
    let found: { readonly value: number; readonly length: number } | undefined
    let at = offsetOf(units[0] as number)
    for (let i = from; i < input.length; i++) {
      const byte = input[i] as number
      at ^= byte
      // A broken trie leads outside of the array: then there is nothing to find.
      const unit = units[at]
      if (unit === undefined || labelOf(unit) !== byte) return found
      at ^= offsetOf(unit)
      if (hasLeaf(unit)) found = { value: valueOf(units[at] ?? 0), length: i + 1 - from }
    }
    return found
  }
}

const utf8Length = (first: number): number => (first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4)
