import type { Architecture } from './architecture.js'

/** Gemma 3, the text model: four norms a layer, windows on all layers but every sixth, which have angles of their own. */
export const gemma3: Architecture = {
  name: 'gemma3',
  huggingFace: 'gemma3_text',
  gguf: 'gemma3',
  activation: 'gelu',
  norms: { heads: true, sub: false, post: true },
  biases: { qkv: false, output: false, mlp: false },
  storedGain: 'gain - 1',
  embeddingScale: 'sqrt(width)',
  ggufRotatesNeighbours: false,
  defaults: {
    rope_theta: 1_000_000, rope_local_base_freq: 10_000, rms_norm_eps: 1e-6, max_position_embeddings: 131_072, tie_word_embeddings: true,
    head_dim: 256, query_pre_attn_scalar: 256, sliding_window: 4096, sliding_window_pattern: 6,
  },
  ggufWindows: { every: 6, localBase: 10_000 },
  names: { 'mlp.norm': { huggingFace: 'pre_feedforward_layernorm.weight', gguf: 'ffn_norm.weight' } },
}
