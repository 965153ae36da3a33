import type { Role, RoleNames } from './roles.js'

/**
 * A family of decoders: what its layers are made of. Everything that differs between two models of a family stands in the
 * model's own configuration.
 */
export interface Architecture {
  readonly name: string
  /** `model_type` in `config.json`. */
  readonly huggingFace: string
  /** `general.architecture` in GGUF; absent: no such files are read. */
  readonly gguf?: string
  readonly activation: 'silu' | 'gelu' | 'relu2'
  readonly norms: {
    /** RMSNorm over each head of q and k, before the rotation (Qwen3, Gemma 3). */
    readonly heads: boolean
    /** RMSNorm before the output and the down projection (BitNet b1.58 2B4T). */
    readonly sub: boolean
    /** RMSNorm after attention and after the MLP, before each is added (Gemma). */
    readonly post: boolean
  }
  /** Which linear layers have a bias where the configuration does not say. */
  readonly biases: { readonly qkv: boolean; readonly output: boolean; readonly mlp: boolean }
  /** Hugging Face files hold gain − 1 (Gemma); GGUF files hold the gain itself. */
  readonly storedGain: 'gain' | 'gain - 1'
  readonly embeddingScale: 'one' | 'sqrt(width)'
  /** Rows of q and k in GGUF lie as llama.cpp's rotation of neighbours wants them. */
  readonly ggufRotatesNeighbours: boolean
  /** What a missing key of `config.json` means, as transformers has it. */
  readonly defaults: Readonly<Record<string, unknown>>
  /** GGUF says neither which layers have a window nor their angles: what llama.cpp takes. */
  readonly ggufWindows?: { readonly every: number; readonly localBase: number }
  /** Names that differ from the usual ones. */
  readonly names?: Readonly<Partial<Record<Role, RoleNames>>>
}
