import { allocate } from '@lowbit/core'
import type { BlockTensor } from './block-tensor.js'
import { BlockBuffer, type BlockType } from './blocks/block-type.js'
import { WORDWISE } from './blocks/wordwise.js'
import { countBlocks } from './read-blocks.js'

/** Reads blocks into memory of its own, again and again: what it gives is valid until the next read. */
export class BlockReader {
  #room = new Uint8Array(0)
  #codes = new Int8Array(0)
  #scales = new Float32Array(0)
  #minima = new Float32Array(0)
  readonly #block = new BlockBuffer()

  /** Room for the bytes of the next read. @throws LOWBIT_LIMIT */
  room(bytes: number): Uint8Array<ArrayBuffer> {
    if (this.#room.length < bytes) this.#room = allocate('uint8', bytes)
    return this.#room
  }

  /** The blocks' meaning, without the two levels of scales. @throws LOWBIT_FORMAT unless the bytes are whole blocks, LOWBIT_LIMIT */
  read(type: BlockType, shape: readonly number[], bytes: Uint8Array): BlockTensor {
    const count = countBlocks(type, bytes)
    const values = count * type.block
    const groups = values / type.group
    if (this.#codes.length < values) this.#codes = allocate('int8', values)
    if (this.#scales.length < groups) [this.#scales, this.#minima] = [allocate('float32', groups), allocate('float32', groups)]
    const fast = bytes.byteOffset % 2 === 0 ? WORDWISE[type.name] : undefined
    if (fast === undefined) this.#readEach(type, bytes, count)
    else fast(new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2), count, new Int32Array(this.#codes.buffer, 0, values / 4), this.#scales, this.#minima)
    return {
      type: type.name, shape, group: type.group, codes: this.#codes.subarray(0, values), scales: this.#scales.subarray(0, groups),
      ...(type.table === undefined ? {} : { table: Float32Array.from(type.table) }), ...(type.minima ? { minima: this.#minima.subarray(0, groups) } : {}),
    }
  }

  #readEach(type: BlockType, bytes: Uint8Array, count: number): void {
    const [block, codes, scales, minima] = [this.#block, this.#codes, this.#scales, this.#minima]
    const groups = type.block / type.group
    for (let b = 0, from = 0, first = 0; b < count; b++, from += type.block, first += groups) {
      type.read(bytes, b * type.bytes, block)
      for (let i = 0; i < type.block; i++) codes[from + i] = block.codes[i] as number
      for (let g = 0; g < groups; g++) {
        scales[first + g] = block.scales[g] as number
        if (type.minima) minima[first + g] = block.minima[g] as number
      }
    }
  }
}
