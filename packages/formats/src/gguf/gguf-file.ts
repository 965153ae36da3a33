import type { StoredTensor, TensorSource, Rows } from '../bytes/tensor-source.js'
import type { BlockTensor } from './block-tensor.js'
import type { GgufMetadata } from './metadata.js'

/** A tensor of a GGUF file. */
export interface GgufTensor extends StoredTensor {
  /** Number of the type in the file. */
  readonly typeId: number
  /** First byte, from the start of the file it stands in. */
  readonly offset: number
  /** Which file of a split model, from 0. */
  readonly part: number
}

/** A GGUF model that is open, in one file or several. Tensors are read when asked for. */
export interface GgufFile extends TensorSource {
  /** 2 or 3. */
  readonly version: number
  readonly bigEndian: boolean
  /** Of the first file; the keys about splitting (`split.*`) are left out of a model that is whole here. */
  readonly metadata: GgufMetadata
  readonly tensors: ReadonlyMap<string, GgufTensor>
  /**
   * The meaning of a tensor of blocks: codes, scales, minima.
   * @throws LOWBIT_DTYPE for a plain type (F32, F16, …), and what `bytes` throws.
   */
  blocks(name: string, rows?: Rows): Promise<BlockTensor>
  /**
   * The same, `rows` rows of a matrix at a time. A piece is valid until the next one is asked for.
   * @throws As {@link blocks}.
   */
  blockPieces(name: string, rows: number): AsyncGenerator<BlockTensor>
  /** What each block of a tensor says; undefined for plain types and those that are not read. */
  blockForm(name: string): BlockForm | undefined
}

/** What all blocks of a type have in common. */
export interface BlockForm {
  /** Neighbours along K that share scale and minimum. */
  readonly group: number
  /** Least and greatest code. */
  readonly range: readonly [number, number]
  /** Levels by code, where they are not the codes themselves. */
  readonly table?: readonly number[]
  readonly minima: boolean
}
