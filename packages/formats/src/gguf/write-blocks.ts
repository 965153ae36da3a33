import { elementCount, LowbitError } from '@lowbit/core'
import type { BlockTensor } from './block-tensor.js'
import { BlockBuffer, type BlockType } from './blocks/block-type.js'
import { BLOCK_TYPES } from './types.js'

/**
 * The bytes of a tensor of blocks from its meaning, the inverse of reading it: codes found on the two-level scales of a K-quant are stored as they are.
 * Two-level types take `twoLevel`, the others `scales` and `minima`; scales must be what the type stores (float16 values, powers of two for MXFP4).
 * @throws LOWBIT_UNSUPPORTED for a type that is only read, LOWBIT_SHAPE if the parts do not fit each other.
 */
export function writeBlocks(t: BlockTensor): Uint8Array<ArrayBuffer> {
  const type = Object.values<BlockType>(BLOCK_TYPES).find((candidate) => candidate.name === t.type)
  if (type?.write === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `ggml ${t.type}`, found: 'asked to write it', expected: Object.values<BlockType>(BLOCK_TYPES).flatMap((b) => (b.write === undefined ? [] : [b.name])).join(', ') })
  const count = elementCount(t.shape) / type.block
  const groups = type.block / type.group
  const { twoLevel } = t
  const lengths = [t.codes.length / type.block, t.scales.length / groups, (t.minima?.length ?? 0) / groups, twoLevel?.d.length, (twoLevel?.subScales.length ?? 0) / groups, twoLevel?.dmin?.length, (twoLevel?.subMinima?.length ?? 0) / groups]
  const levels = type.twoLevel !== undefined
  const wanted = [count, count, type.minima ? count : 0, levels ? count : undefined, levels ? count : 0, levels && type.minima ? count : undefined, levels && type.minima ? count : 0]
  if ((t.shape.at(-1) ?? 1) % type.block !== 0 || lengths.some((length, i) => length !== wanted[i])) {
    throw new LowbitError('LOWBIT_SHAPE', { thing: `ggml ${t.type} [${t.shape.join(', ')}]`, found: `parts for ${lengths.map(String).join(', ')} blocks`, expected: wanted.map(String).join(', ') })
  }
  const out = new Uint8Array(count * type.bytes)
  const block = new BlockBuffer()
  for (let b = 0; b < count; b++) {
    block.codes.set(t.codes.subarray(b * type.block, (b + 1) * type.block))
    block.scales.set(t.scales.subarray(b * groups, (b + 1) * groups))
    if (t.minima !== undefined) block.minima.set(t.minima.subarray(b * groups, (b + 1) * groups))
    if (twoLevel !== undefined) {
      block.d = twoLevel.d[b] as number
      block.dmin = twoLevel.dmin?.[b] ?? 0
      block.sub.set(twoLevel.subScales.subarray(b * groups, (b + 1) * groups))
      if (twoLevel.subMinima !== undefined) block.subMin.set(twoLevel.subMinima.subarray(b * groups, (b + 1) * groups))
    }
    type.write(block, out, b * type.bytes)
  }
  return out
}
