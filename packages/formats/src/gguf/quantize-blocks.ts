import { encodeBfloat16, LowbitError, toFloat16 } from '@lowbit/core'
import { bytesOf } from '../bytes/views.js'
import { BlockBuffer, type BlockType } from './blocks/block-type.js'
import { encodeTwoLevel } from './encode/k-quants.js'
import { encodeQ4_0, encodeQ4_1, encodeQ5_0, encodeQ5_1, encodeQ8_0, encodeTernary, type EncodeBlock } from './encode/simple.js'
import { encodeIQ4_NL, encodeMxfp4 } from './encode/tables.js'
import { BLOCK_TYPES, type BlockTypeName } from './types.js'

const { Q2_K, Q3_K, Q4_K, Q5_K, Q6_K } = BLOCK_TYPES

/** Types that values are quantized to here. The K-quants and IQ4_NL by our own search, the others as ggml does, bit for bit. */
const ENCODERS: Partial<Record<BlockTypeName, () => EncodeBlock>> = {
  Q4_0: () => encodeQ4_0,
  Q4_1: () => encodeQ4_1,
  Q5_0: () => encodeQ5_0,
  Q5_1: () => encodeQ5_1,
  Q8_0: () => encodeQ8_0,
  TQ1_0: () => encodeTernary,
  TQ2_0: () => encodeTernary,
  MXFP4: () => encodeMxfp4,
  IQ4_NL: () => encodeIQ4_NL,
  Q2_K: () => encodeTwoLevel(Q2_K),
  Q3_K: () => encodeTwoLevel(Q3_K),
  Q4_K: () => encodeTwoLevel(Q4_K),
  Q5_K: () => encodeTwoLevel(Q5_K),
  Q6_K: () => encodeTwoLevel(Q6_K),
}

/** Types of GGUF that are written here. */
export const WRITTEN_TYPES = ['F32', 'F16', 'BF16', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0', 'Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K', 'TQ1_0', 'TQ2_0', 'MXFP4', 'IQ4_NL'] as const

export type WrittenType = (typeof WRITTEN_TYPES)[number]

/**
 * Values as the bytes of a type.
 * @param x Rows one after the other; a row is a whole number of blocks. Finite for the block types.
 * @throws LOWBIT_SHAPE if the values are not whole blocks, LOWBIT_NONFINITE, LOWBIT_UNSUPPORTED for a type that is only read.
 */
export function quantizeBlocks(name: WrittenType, x: Float32Array, thing = `ggml ${name}`): Uint8Array<ArrayBuffer> {
  if (name === 'F32') return bytesOf(Float32Array.from(x))
  if (name === 'F16') return bytesOf(toFloat16(x))
  if (name === 'BF16') return bytesOf(Uint16Array.from(x, encodeBfloat16))
  const type: BlockType = BLOCK_TYPES[name]
  const encode = ENCODERS[name]?.()
  if (encode === undefined || type.write === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `type ${String(name)}`, expected: WRITTEN_TYPES.join(', ') })
  if (x.length % type.block !== 0) throw new LowbitError('LOWBIT_SHAPE', { thing, found: `${x.length} values`, expected: `whole blocks of ${type.block}` })
  const bad = x.findIndex((value) => !Number.isFinite(value))
  if (bad >= 0) throw new LowbitError('LOWBIT_NONFINITE', { thing, found: `${x[bad]} at ${bad}`, expected: 'finite values: a block shares one scale' })
  const out = new Uint8Array((x.length / type.block) * type.bytes)
  const block = new BlockBuffer()
  for (let b = 0; b * type.block < x.length; b++) {
    encode(x.subarray(b * type.block, (b + 1) * type.block), block)
    type.write(block, out, b * type.bytes)
  }
  return out
}
