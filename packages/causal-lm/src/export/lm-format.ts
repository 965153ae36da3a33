import type { Acceptance, Artifact, Declarations, EmitOptions, QTensor, Scheme, Site, StoredTensor, WeightPart } from '@lowbit/core'
import type { GgufMetadata } from '@lowbit/formats/gguf'
import type { FileSet } from '@lowbit/formats/gguf'
import type { Role } from '../architecture/index.js'
import type { ModelConfig } from '../config/model-config.js'
import type { Part } from '../forward/parts.js'
import type { WeightSource } from '../weights/weight-source.js'

/** How a format holds the codes of a weight. */
export interface StoredWeight {
  /** In the format's words: `Q4_0`. */
  readonly form: string
  /** What is stored, to the last bit. */
  readonly parts: readonly WeightPart[]
  readonly tensors: readonly StoredTensor[]
  /** What was changed so that the format holds it. */
  readonly reason?: string
}

/** A model as it stands when it is written: the source with all changes and decisions. */
export interface LmSnapshot {
  readonly name: string
  readonly config: ModelConfig
  readonly source: WeightSource
  readonly sites: readonly Site[]
  /** Codes by the name of the part. */
  readonly codes: ReadonlyMap<string, QTensor>
  /** True if a float matrix is not that of the source any more. */
  isChanged(part: Part): boolean
  /** A matrix in float32, changes made. */
  floats(part: Part): Promise<Float32Array<ArrayBuffer>>
  /** Gains and biases, changes made. */
  readonly vectors: ReadonlyMap<string, Float32Array>
  /** The tokenizer in the words of GGUF; undefined where the model has none. @throws LOWBIT_UNSUPPORTED for one that GGUF has no words for */
  tokenizer(): GgufMetadata | undefined
  /** The files of the folder that the model was read from. */
  readonly files?: FileSet
}

/** A kind of file that a language model is written to. */
export interface LmFormat {
  readonly name: string
  /** What `settings` may hold. */
  readonly settings: Declarations
  accepts(site: Site, scheme: Scheme): Acceptance
  /** Refuses a model that it has no words for, before any work is done. @throws LOWBIT_UNSUPPORTED, LOWBIT_FORMAT */
  check(model: Pick<LmSnapshot, 'name' | 'config' | 'tokenizer'>): void
  /** Whether the output of a matrix can have a bias that the model has not. @param role - of the matrix */
  takesBias(config: ModelConfig, role: Role): boolean
  /** @throws LOWBIT_UNSUPPORTED for codes that the format has no place for */
  store(q: QTensor, thing: string): StoredWeight
  write(model: LmSnapshot, options: EmitOptions): Promise<Artifact>
}
