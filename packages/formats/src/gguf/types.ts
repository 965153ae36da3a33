import type { DType } from '@lowbit/core'
import type { BlockType } from './blocks/block-type.js'
import { Q2_K, Q3_K, Q4_K, Q5_K, Q6_K } from './blocks/k-quants.js'
import { Q1_0, Q2_0, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q8_1, Q8_K } from './blocks/simple.js'
import { IQ4_NL, IQ4_XS, MXFP4, NVFP4 } from './blocks/tables.js'
import { TQ1_0, TQ2_0 } from './blocks/ternary.js'

/** A type of a tensor in a GGUF file. */
export type GgufType =
  | { readonly name: string; readonly id: number; readonly block: 1; readonly bytes: number; readonly plain: DType }
  | { readonly name: string; readonly id: number; readonly block: number; readonly bytes: number; readonly blocks: BlockType }
  /** Known by size only: its codebooks are not written here. */
  | { readonly name: string; readonly id: number; readonly block: number; readonly bytes: number; readonly unread: true }

const plain = (name: string, id: number, dtype: DType, bytes: number): GgufType => ({ name, id, block: 1, bytes, plain: dtype })
const unread = (name: string, id: number, bytes: number): GgufType => ({ name, id, block: 256, bytes, unread: true })

/** Every block type whose meaning is read, by name. */
export const BLOCK_TYPES = { Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q8_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Q8_K, IQ4_NL, IQ4_XS, TQ1_0, TQ2_0, MXFP4, NVFP4, Q1_0, Q2_0 } as const

export type BlockTypeName = keyof typeof BLOCK_TYPES

/** Every type of a tensor that GGUF files name. Q2_0 stands here with blocks of 64; files with blocks of 128 under the same number are told apart by size. */
export const GGUF_TYPES: readonly GgufType[] = [
  plain('F32', 0, 'float32', 4),
  plain('F16', 1, 'float16', 2),
  plain('BF16', 30, 'bfloat16', 2),
  plain('F64', 28, 'float64', 8),
  plain('I8', 24, 'int8', 1),
  plain('I16', 25, 'int16', 2),
  plain('I32', 26, 'int32', 4),
  plain('I64', 27, 'int64', 8),
  ...Object.values(BLOCK_TYPES).map((type: BlockType): GgufType => ({ name: type.name, id: type.id, block: type.block, bytes: type.bytes, blocks: type })),
  unread('IQ2_XXS', 16, 66),
  unread('IQ2_XS', 17, 74),
  unread('IQ3_XXS', 18, 98),
  unread('IQ1_S', 19, 50),
  unread('IQ3_S', 21, 110),
  unread('IQ2_S', 22, 82),
  unread('IQ1_M', 29, 56),
]
