import type { ModelConfig } from '../config/model-config.js'
import type { Part } from '../forward/parts.js'
import type { MatrixPieces } from './matrix-pieces.js'
import type { ModelMatrix } from './matrix.js'

/** Weights of a decoder by what they are in it, read one at a time from whatever file holds them. */
export interface WeightSource {
  /** For messages: the file or folder. */
  readonly name: string
  readonly format: 'gguf' | 'huggingface' | 'llama2.c'
  readonly config: ModelConfig
  /** Bytes of weights in the file. */
  readonly bytes: number
  /** What was read otherwise than the file says, in sentences. */
  readonly notes: readonly string[]
  /** How the file holds a part: `Q4_K`, `BF16`. */
  typeOf(part: Part): string
  /** @throws LOWBIT_NONFINITE, LOWBIT_UNSUPPORTED, LOWBIT_FILE. */
  matrix(part: Part): Promise<ModelMatrix>
  /** The same matrix in pieces, nothing of it read yet; undefined where it is read whole only. */
  pieces?(part: Part): MatrixPieces | undefined
  /** Rows of a matrix in float32. */
  rows(part: Part, from: number, count: number): Promise<Float32Array>
  /** Gains and biases, as the model uses them. */
  vector(part: Part): Promise<Float32Array>
  /** The bytes of a matrix as a GGUF file holds them, rows in that file's order; undefined for other files. */
  stored?(part: Part): { readonly type: string; bytes(): Promise<Uint8Array> } | undefined
  /** What stands for the model in logs: changes when its tensors or their sizes do. */
  fingerprint(): string
  close(): Promise<void>
}
