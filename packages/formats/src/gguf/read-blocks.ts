import { allocate, elementCount, LowbitError } from '@lowbit/core'
import type { BlockTensor } from './block-tensor.js'
import { BlockBuffer, type BlockType } from './blocks/block-type.js'

/** Number of blocks in some bytes. @throws LOWBIT_FORMAT unless they are whole blocks. */
export function countBlocks(type: BlockType, bytes: Uint8Array): number {
  if (bytes.length % type.bytes !== 0) throw new LowbitError('LOWBIT_FORMAT', { thing: `ggml ${type.name}`, found: `${bytes.length} bytes`, expected: `whole blocks of ${type.bytes} bytes` })
  return bytes.length / type.bytes
}

/** The values of whole blocks, bit for bit what ggml gives. @throws LOWBIT_FORMAT unless they are whole blocks. */
export function dequantizeBlocks(type: BlockType, bytes: Uint8Array): Float32Array<ArrayBuffer> {
  const count = countBlocks(type, bytes)
  const out = allocate('float32', count * type.block)
  const block = new BlockBuffer()
  const { group, table, minima } = type
  for (let b = 0, o = 0; b < count; b++) {
    type.read(bytes, b * type.bytes, block)
    for (let g = 0, i = 0; i < type.block; g++) {
      const scale = block.scales[g] as number
      const minimum = minima ? (block.minima[g] as number) : 0
      for (const end = i + group; i < end; i++, o++) {
        const code = block.codes[i] as number
        const product = Math.fround(scale * (table === undefined ? code : (table[code] as number)))
        out[o] = minima ? product + minimum : product
      }
    }
  }
  return out
}

/** The meaning of whole blocks. `shape` ends in K. @throws LOWBIT_FORMAT, LOWBIT_SHAPE if bytes and shape do not fit each other. */
export function readBlocks(type: BlockType, shape: readonly number[], bytes: Uint8Array): BlockTensor {
  const count = countBlocks(type, bytes)
  if (elementCount(shape) !== count * type.block || (shape.at(-1) ?? 1) % type.block !== 0) {
    throw new LowbitError('LOWBIT_SHAPE', { thing: `ggml ${type.name}`, found: `${bytes.length} bytes for [${shape.join(', ')}]`, expected: `rows of whole blocks of ${type.block} values in ${type.bytes} bytes` })
  }
  const groups = type.block / type.group
  const codes = allocate('int8', count * type.block)
  const scales = new Float32Array(count * groups)
  const minima = new Float32Array(type.minima ? count * groups : 0)
  const levels = type.twoLevel === undefined ? undefined : {
    block: type.block,
    d: new Float32Array(count),
    subScales: new Int8Array(count * groups),
    ...(type.minima ? { dmin: new Float32Array(count), subMinima: new Uint8Array(count * groups) } : {}),
  }
  const block = new BlockBuffer()
  for (let b = 0; b < count; b++) {
    type.read(bytes, b * type.bytes, block)
    // Loops, not `set` of a subarray: millions of small views are what reading would spend its time on.
    const [from, first] = [b * type.block, b * groups]
    for (let i = 0; i < type.block; i++) codes[from + i] = block.codes[i] as number
    for (let g = 0; g < groups; g++) scales[first + g] = block.scales[g] as number
    if (type.minima) for (let g = 0; g < groups; g++) minima[first + g] = block.minima[g] as number
    if (levels === undefined) continue
    levels.d[b] = block.d
    for (let g = 0; g < groups; g++) levels.subScales[first + g] = block.sub[g] as number
    const { dmin, subMinima } = levels
    if (dmin === undefined || subMinima === undefined) continue
    dmin[b] = block.dmin
    for (let g = 0; g < groups; g++) subMinima[first + g] = block.subMin[g] as number
  }
  return {
    type: type.name, shape, group: type.group, codes, scales,
    ...(type.table === undefined ? {} : { table: Float32Array.from(type.table) }),
    ...(type.minima ? { minima } : {}),
    ...(levels === undefined ? {} : { twoLevel: levels }),
  }
}
