/** Rotary embedding of one kind of layer. */
export interface Rotary {
  /** θ of the angles, before any scaling. */
  readonly base: number
  /** Radians a position, one for each pair of a head: scaling is already in them. float32. */
  readonly frequencies: Float32Array
}

/** The sizes and switches of a decoder, whatever file they were read from. */
export interface ModelConfig {
  /** Name of the {@link Architecture}. */
  readonly architecture: string
  readonly layers: number
  /** Floats of the residual stream. */
  readonly width: number
  readonly heads: number
  /** Heads of keys and values; divides `heads`. */
  readonly kvHeads: number
  readonly headSize: number
  /** Floats between gate and down projection. */
  readonly hidden: number
  readonly vocabulary: number
  /** Positions the model was trained for. */
  readonly context: number
  /** Of every RMSNorm. */
  readonly epsilon: number
  /** Layers that see all positions. */
  readonly rotary: Rotary
  /** Layers with a window, where they have angles of their own. */
  readonly localRotary?: Rotary
  /** Positions that each layer sees, its own included; `undefined`: all. */
  readonly windows: readonly (number | undefined)[]
  /** Scores are multiplied by it. */
  readonly attentionScale: number
  readonly attentionSoftcap?: number
  readonly outputSoftcap?: number
  /** Embeddings are multiplied by it. */
  readonly embeddingScale: number
  /** The head is the embedding. */
  readonly tied: boolean
  readonly biases: { readonly qkv: boolean; readonly output: boolean; readonly mlp: boolean }
  /** Linear layers round their inputs to int8 a token: the model was trained so. */
  readonly roundedInputs: boolean
}
